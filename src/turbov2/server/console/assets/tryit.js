// The tools that try models. A new one is a module with a class and a line in TOOLS.

import { EmbedTool, RerankTool } from "./texts.js";
import { FileTool } from "./files.js";
import { ListenTool } from "./listen.js";
import { LiveTool } from "./live.js";

// Each has `node`, and `showModels(models)`, which is told the catalogue with every look.
const TOOLS = [EmbedTool, RerankTool, ListenTool, LiveTool, FileTool];

export class TryIt {
  #tools;

  // showJobs() turns to the list of jobs, once a tool has begun one.
  constructor(parent, showJobs) {
    this.#tools = TOOLS.map((Tool) => new Tool(showJobs));
    parent.append(...this.#tools.map(({ node }) => node));
  }

  showModels(models) {
    for (const tool of this.#tools) tool.showModels(models);
  }
}
