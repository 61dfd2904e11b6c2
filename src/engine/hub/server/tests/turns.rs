//! Single turns of the hub.
