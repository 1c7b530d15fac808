//! The service thread: it owns the control socket, checks every message as hostile, expands keys and feeds the workers.
//!
//! ```text
//! socket.rs    connections: who may, how many, whole messages only
//! requests.rs  a message in, a reply out; commands to workers
//! circuits.rs  circuits, taps and links of a mix to itself: puts to commands
//! shadow.rs    the mirror of the workers' tables: what exists, where, and what there is room for
//! installed.rs the keys of this life: none is installed twice
//! dump.rs      what exists, page by page
//! feed.rs      the queue of commands towards a worker
//! hops.rs      cells for a hop and of a hop
//! inject.rs    cells and datagrams that control sends
//! punts.rs     what workers hand over, on its way to the subscriber
//! ```

pub mod circuits;
mod dump;
pub mod feed;
pub mod hops;
mod inject;
pub mod installed;
mod punts;
pub mod requests;
pub mod shadow;
pub mod socket;

use crate::terminal::Terminal;
use drover_crypto::Suite;
use drover_wire::control::MAX_MESSAGE;
use requests::Service;
use socket::{Answered, Sockets};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// How often the workers' events are looked at while they may ask for keys: well within the shortest ratchet step.
const BUSY: Duration = Duration::from_millis(2);
/// How long the thread sleeps when nothing can come from a worker.
const IDLE: Duration = Duration::from_millis(200);

/// Serves until `stop` is set and the poll is woken.
///
/// # Errors
/// When the poll fails.
pub fn run<C: Suite, T: Terminal>(
    mut service: Service<C, T>,
    mut sockets: Sockets,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut message = Zeroizing::new(vec![0; MAX_MESSAGE + 1]);
    let mut reply = vec![0; MAX_MESSAGE];
    while !stop.load(Ordering::Relaxed) {
        service.serve_workers(|punt| sockets.push(punt));
        let patience = if service.quiet() && !sockets.has_subscriber() { IDLE } else { BUSY };
        sockets.poll(patience)?;
        sockets.serve(&mut message, &mut reply, |message, reply| {
            let len = service.answer(message, reply);
            Answered { len, subscribes: service.takes_subscription() }
        });
        if sockets.lost_subscriber() {
            service.unsubscribed();
        }
    }
    Ok(())
}
