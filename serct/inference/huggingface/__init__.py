"""Export of a trained model as a folder that Hugging Face's transformers loads without serct."""
