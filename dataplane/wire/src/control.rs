//! Messages between control and data plane.
