"""`vl-classifier`: tells pages that plain OCR reads wholly from pages that need a vision-language model."""
