//! What the tests with foreign implementations share.

pub mod opener;
pub mod peers;
pub mod relay;
pub mod world;
