"""The conversation: turn taking, prompt, facts, sentences."""
