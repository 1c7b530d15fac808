//! The kinds of messages that travel in channels (`docs/wire.md`, W-MSG). One registry, so that no two uses share a number.

/// In a link's own channel, between neighbours.
pub mod link {
    /// A datagram of an inner handshake: | 4 generation | 1 index | datagram |.
    pub const REKEY: u8 = 1;
    /// The new read keys are installed: | 4 generation | 32 MAC |, bound to the outer handshake.
    pub const INSTALLED: u8 = 2;
    /// Please begin an inner handshake: from the side that does not begin them. | 4 least generation |.
    pub const REKEY_WANTED: u8 = 3;
    /// A circuit's first hop over this link.
    pub const CREATE: u8 = 16;
    /// It is made.
    pub const CREATED: u8 = 17;
    /// It is not made, and why.
    pub const CREATE_FAILED: u8 = 18;
    /// A circuit ends.
    pub const DESTROY: u8 = 19;
    /// Which short-term keys do the zone's mixes have?
    pub const KEYS_WANTED: u8 = 20;
    /// Short-term keys, signed each by its mix.
    pub const KEYS: u8 = 21;
    /// The circuit has ended here too: its id is free.
    pub const DESTROYED: u8 = 22;
    /// Join two halves of a call here.
    pub const SPLICE: u8 = 32;
    /// Joined.
    pub const SPLICED: u8 = 33;
    /// A client's signed registration, among the mixes of a zone.
    pub const REGISTRATION: u8 = 34;
    /// All registrations, please: after a restart.
    pub const REGISTRATIONS_WANTED: u8 = 35;
    /// A sealed lookup for a mix of another zone.
    pub const LOOKUP: u8 = 36;
    /// Its sealed answer.
    pub const LOOKUP_ANSWER: u8 = 37;
    /// A sealed signal for a client of the other mix.
    pub const SIGNAL: u8 = 38;
}

/// In a circuit's channel, between a client and one of its hops.
pub mod hop {
    /// Make the circuit one hop longer.
    pub const EXTEND: u8 = 16;
    /// It is.
    pub const EXTENDED: u8 = 17;
    /// It is not, and why.
    pub const EXTEND_FAILED: u8 = 18;
    /// What lay beyond this hop is gone.
    pub const TRUNCATED: u8 = 19;
    /// I am to be reached here: a signed registration.
    pub const REGISTER: u8 = 32;
    /// Noted.
    pub const REGISTERED: u8 = 33;
    /// A sealed lookup.
    pub const LOOKUP: u8 = 34;
    /// Its sealed answer.
    pub const LOOKUP_ANSWER: u8 = 35;
    /// A sealed signal for another client, or from one.
    pub const SIGNAL: u8 = 36;
    /// Join this circuit with the one that the other side names alike.
    pub const JOIN: u8 = 37;
    /// Joined.
    pub const JOINED: u8 = 38;
    /// What was asked cannot be done, and why.
    pub const FAILED: u8 = 39;
}
