//! Links of this mix to itself.

use super::{ClassEntry, LinkEntry, LinkSpec, Place, Plan, Refused, Shadow, Table, refuse};
use drover_nic::Endpoint;
use drover_wire::control::{Peer, PutLoop};
use std::collections::HashMap;

/// Where a new loop goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopPlan {
    /// The worker of both ends.
    pub worker: u8,
    /// The class's index.
    pub class: u8,
}

impl Shadow {
    /// What a put of a loop does. Both ends are on one worker, the one with the fewest links that has room.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn check_loop(&mut self, put: &PutLoop, now: u64) -> Result<Plan<LoopPlan>, Refused> {
        let (a, b) = (put.a, put.b);
        if a == b {
            refuse!(Malformed, "link {a}: a link of this mix to itself has two ends: take another id for b");
        }
        if let Some((id, entry)) = [a, b].iter().find_map(|id| Some((id, self.links.get(id)?))) {
            let other = if *id == a { b } else { a };
            let same = entry.loop_to == Some(other) && entry.spec.class == put.class && entry.owner == put.owner;
            return match same {
                true => Ok(Plan::Same),
                false => refuse!(Exists, "link {id} exists with another end or other parameters: remove it first"),
            };
        }
        let Some(class) = self.classes.iter().position(|class| class.id == put.class) else {
            refuse!(Unknown, "link {a}: there is no class {}: put it first", put.class);
        };
        let mut workers: Vec<u8> = (0..self.listens.len() as u8).collect();
        workers.sort_by_key(|worker| self.classes.iter().map(|c| c.links[usize::from(*worker)]).sum::<u64>());
        let mut refused = None;
        for worker in workers {
            match self.check_loop_on(a, worker, class, now) {
                Ok(()) => return Ok(Plan::Do(LoopPlan { worker, class: class as u8 })),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(refused) => Err(refused),
            None => refuse!(NoRoom, "link {a}: there is no worker"),
        }
    }

    fn check_loop_on(&mut self, id: u32, worker: u8, class: usize, now: u64) -> Result<(), Refused> {
        self.table(worker, Table::Link).check(2, "limits.links")?;
        // What crosses a loop waits for its instant as a sealed record does, and has its part of the room.
        let two_more =
            |at: usize, links, entry: &ClassEntry| (links + 2 * u64::from(at == class), entry.fastest_at(now));
        let needed = self.transmit_with(worker, two_more);
        if needed > self.sizes.transmit as u64 {
            refuse!(
                Limit,
                "link {id}: worker {worker} would give out up to {needed} slots ahead and has room for {}: raise \
                 limits.transmit, or add a worker",
                self.sizes.transmit
            );
        }
        Ok(())
    }

    /// Puts a loop that [`Self::check_loop`] found possible. Returns the places of its ends, `a` and `b`.
    pub fn commit_loop(&mut self, put: &PutLoop, LoopPlan { worker, class }: LoopPlan) -> [Place; 2] {
        [(put.a, put.b), (put.b, put.a)].map(|(id, other)| {
            let place = self.take(worker, Table::Link);
            self.classes[usize::from(class)].links[usize::from(worker)] += 1;
            self.by_place.insert(place, id);
            let spec = LinkSpec {
                local_port: 0,
                remote: Endpoint::NONE,
                class: put.class,
                peer: Peer::Drover,
                ratchet_bits: 0,
            };
            let entry = LinkEntry {
                place,
                spec,
                owner: put.owner,
                class,
                generations: Vec::new(),
                sending: 0,
                receiving: 0,
                loop_to: Some(other),
                admitted: 0,
                control: 0,
                heard: None,
                silent: false,
                ids: HashMap::new(),
            };
            self.links.insert(id, entry);
            place
        })
    }
}
