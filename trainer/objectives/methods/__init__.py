"""One short module a method. The registry says which name lives in which module."""
