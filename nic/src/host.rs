//! What only system calls tell of this machine: its clock's discipline, an interface's driver, queues and XDP features.
//!
//! All of it is read, nothing is changed, and none of it needs a privilege.

mod clock;
mod ethtool;
mod netdev;

pub use clock::{ClockState, clock_state};
pub use ethtool::{Channels, Driver, channels, driver};
pub use netdev::{XdpFeatures, xdp_features};
