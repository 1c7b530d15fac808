//! Every limit of a data plane, with its reason. What is configurable has its ceiling here.

/// Workers of one process.
pub const WORKERS_MAX: usize = drover_wire::control::WORKERS_MAX;
/// Link classes of one process: a worker scans them for the earliest departure, so they are few.
pub const CLASSES_MAX: usize = 16;
/// Links of one worker.
pub const LINKS_MAX: usize = 1 << 17;
/// Circuits of one worker.
pub const CIRCUITS_MAX: usize = 1 << 20;
/// Cells of one worker's pool.
pub const POOL_MAX: usize = 1 << 22;
/// Cells that one circuit may have waiting for one link: the one that is due, one that came early after a late one,
/// and one for jitter around the slot itself.
pub const WAITING_PER_CIRCUIT: usize = 3;
/// Best-effort cells that may wait on one link.
pub const BEST_EFFORT_PER_LINK: usize = 64;
/// Records that a link's replay window remembers (RFC 9147, 4.5.1; `docs/wire.md`).
pub const RECORD_WINDOW: u64 = 1024;
/// Cells that a circuit's replay window remembers.
pub const CELL_WINDOW: u64 = 128;
/// A circuit's counter may jump this far at once, and 2 · rate · time elapsed beyond (`docs/wire.md`).
pub const COUNTER_JUMP: u64 = 64;
/// Second openings (other generation, one wrap away) that one turn may try: a forged record must not buy work.
pub const TRIALS_PER_TURN: u32 = 16;
/// How many of them one link may use: forged records for some links must not starve the others.
pub const TRIALS_PER_LINK: u8 = 4;
/// Wraps that one record may try under keys that nothing has come under yet, of 256 in turn.
pub const HUNTED_PER_RECORD: u32 = 2;
/// Bursts taken from the port in one turn of a tick of 1 ms; of a longer or shorter one, in proportion.
pub const BURSTS_PER_TURN: usize = 16;
/// Cells taken from all hand-off rings in one turn.
pub const HANDED_PER_TURN: usize = 256;
/// Work on commands of the service thread in one turn, in parts of [`COMMAND_COST`]: four that change tables.
pub const COMMANDS_PER_TURN: usize = 32;
/// What a command costs that changes tables; one that only copies a cell or a datagram costs 1.
pub const COMMAND_COST: usize = 8;
/// Links whose best-effort cells are permuted in one turn.
pub const MIXED_PER_TURN: usize = 64;
/// Links whose silence is looked at in one turn.
pub const WATCHED_PER_TURN: usize = 4;
/// Rounds that a peer's record may be late before it is counted as lost.
pub const LOST_AFTER_ROUNDS: u64 = 5;
/// Slots sealed in one turn: bounds a turn that follows a stall.
pub const SLOTS_PER_TURN: usize = 4096;
/// Cells of a hand-off ring between two workers.
pub const HANDOFF_RING: usize = 1024;
/// Commands and events of the rings between the service thread and a worker.
pub const COMMAND_RING: usize = 1024;
/// How long read keys of an older generation stay once the newer one has opened a record, ns: horizon, path delay
/// and a margin.
pub const OLD_KEYS_NS: u64 = 5_000_000_000;
/// Shortest and longest time between two draws of a circuit's slot, in rounds.
pub const REDRAW_ROUNDS: std::ops::Range<u64> = 1500..4500;
/// Things that may wait for the service thread, of one worker: it looks every 2 ms, so half a million a second.
pub const PUNT_RING: usize = 1024;
/// Datagrams of expected senders that may wait for the service thread. Anybody is expected who has begun a handshake, so
/// they have no part of the room for links' cells and events.
pub const EXPECTED_RING: usize = 512;
/// Datagrams of unexpected senders that may wait for the service thread.
pub const STRANGERS_RING: usize = 64;
/// Datagrams of one worker that the subscriber is given: a second, and at once. Of expected senders; a handshake has
/// about ten.
pub const EXPECTED_RATE: (u64, u64) = (10_000, 512);
/// Of strangers: a handshake begins with one.
pub const STRANGERS_RATE: (u64, u64) = (2_000, 128);
/// Rounds of a link's records that may be handed over at once, beyond its rate: what came late.
pub const PUNTED_ROUNDS: u64 = 64;
/// Datagrams of unexpected senders that one turn may hand over.
pub const STRANGERS_PER_TURN: u32 = 8;
/// Senders that control may expect at once.
pub const EXPECTED_MAX: usize = 1024;
/// Injected control cells that may wait on one link.
pub const CONTROL_PER_LINK: u32 = 32;
/// Datagrams of control that may wait behind what is sealed. They have frames of their own in the port.
pub const RAW_WAITING_MAX: usize = 64;
/// A link over which nothing has come for this long is silent, ns.
pub const SILENT_NS: u64 = 3_000_000_000;
/// Horizon under the `spin` policy, ns.
pub const SPIN_HORIZON_NS: u64 = 500_000;
/// Ticks of the horizon under the `tick` policy.
pub const TICK_HORIZON: u64 = 2;

const _: () = assert!(WAITING_PER_CIRCUIT < u8::MAX as usize);
const _: () = assert!(RECORD_WINDOW.is_multiple_of(64) && CELL_WINDOW == 128);
const _: () = assert!(BEST_EFFORT_PER_LINK <= drover_crypto::BATCH);
const _: () = assert!(drover_crypto::BATCH == drover_nic::BURST);
