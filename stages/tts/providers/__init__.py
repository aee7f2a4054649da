"""One file per vendor, named after it; see stages.providers for what each must offer."""
