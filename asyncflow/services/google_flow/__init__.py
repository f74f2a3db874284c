"""Google flow."""
