//! What calls need of a client's circuits. The agent brings [`crate::circuit::builder::Builder`]; tests bring their own.

use crate::circuit::builder::CircuitHandle;
use crate::plane::Now;
use drover_dtls::certificate::NodeId;
use drover_wire::control::EndSecret;

/// A client's halves of calls: circuits from it over its mix to a rendezvous mix, and the call's end.
///
/// What happens on circuits comes to [`super::calls::Calls::on_circuit`].
pub trait Halves {
    /// Begins a circuit to `rendezvous`; `None` when there is no link now.
    fn open(&mut self, now: Now, rendezvous: NodeId, admitted: bool) -> Option<CircuitHandle>;
    /// Sends a message to a ready circuit's rendezvous mix; false when there is no such circuit, or no room.
    fn send(&mut self, now: Now, circuit: CircuitHandle, kind: u8, bytes: &[u8]) -> bool;
    /// From now on the circuit carries the call under these keys.
    ///
    /// # Errors
    /// Why not, for people.
    fn hand_over(&mut self, circuit: CircuitHandle, seal: EndSecret, open: EndSecret) -> Result<(), String>;
    /// Ends a circuit, handed over or not.
    fn close(&mut self, now: Now, circuit: CircuitHandle);
    /// Says a word of call control to the peer, in the next cell of the call; false when there is no room.
    fn say(&mut self, word: &[u8]) -> bool;
    /// The peer's next word of call control.
    fn hear(&mut self) -> Option<Vec<u8>>;
    /// Cells of the peer that opened, since the process began.
    fn heard(&self) -> u64;
}
