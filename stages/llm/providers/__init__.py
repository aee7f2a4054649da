"""One file per vendor, named after it; see stages.runtime.providers for what each must offer."""
