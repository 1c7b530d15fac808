//! The plans, one a tool.

use super::{Chart, Figure, Goal, Plan};
use crate::report::unit::Unit;

const CELLS: Unit = Unit::PerSecond("cells");

const fn figure(key: &'static str, label: &'static str, unit: Unit, meaning: &'static str) -> Figure {
    Figure { key, label, unit, meaning, spread: None, goal: None }
}

const fn spread(figure: Figure, key: &'static str, words: &'static str) -> Figure {
    Figure { spread: Some((key, words)), ..figure }
}

const fn goal(figure: Figure, goal: Goal) -> Figure {
    Figure { goal: Some(goal), ..figure }
}

/// All of them.
pub const PLANS: &[Plan] = &[HOP, FLOOR, LINKS, CHAFF, FORWARD, RELAY, GENERATE, PACE, LATENCY, NDR, CORES, CIRCUITS];

/// A tool that this page does not know.
pub const OTHER: Plan = Plan {
    tool: "",
    title: "A run of drover-perf",
    about: "This page has no plan for the tool: it shows the trials' columns and all figures as they are.",
    figures: &[],
    charts: &[],
};

const MEMORY: Figure = figure(
    "bytes_per_cell_memory",
    "memory a cell touches",
    Unit::Bytes,
    "Cache lines that one cell's way through the worker touches, computed from the layout.",
);

const TRAFFIC: Figure = figure(
    "memory_bytes_per_second",
    "memory touched",
    Unit::PerSecond("bytes"),
    "Bytes a cell touches, times cells a second: what the caches and the memory have to keep up with at most.",
);

const HOP: Plan = Plan {
    tool: "hop",
    title: "One node's work on a cell",
    about: "A worker, the very one that a mix runs, receives, opens, relays, mixes, seals and transmits cells on a memory \
            port and a virtual clock; the floor is the bare crypto of the same work.",
    figures: &[
        figure("cells_per_second", "one core relays", CELLS, "10^9 divided by the median time a cell."),
        figure(
            "ns_per_cell",
            "a cell takes",
            Unit::Ns,
            "The worker's time from receive to transmit, chaff included; median.",
        ),
        figure(
            "floor_ns_per_cell",
            "of it bare crypto",
            Unit::Ns,
            "The same kernel calls on the same keys, frames and order.",
        ),
        goal(
            spread(
                figure("floor_ratio", "worker / floor", Unit::Ratio, "What all that is not crypto costs."),
                "floor_ratio_iqr",
                "half of the batches",
            ),
            Goal::AtMost(1.8),
        ),
        MEMORY,
        TRAFFIC,
    ],
    charts: &[
        Chart::Parts {
            heading: "Where a cell's time goes",
            lead: "The floor is the bare crypto; the rest is parsing, look-ups, replay windows, queues, slots, copies and \
                   every cache miss of these.",
            unit: Unit::Ns,
            parts: &[("floor_ns_per_cell", "bare crypto", 0)],
            whole: Some(("ns_per_cell", "all the rest")),
        },
        Chart::Trials {
            heading: "Time a cell, batch by batch",
            lead: "Each dot is a batch; the band holds half of them. What the machine does to one batch stands out; what \
                   the code costs is the median.",
            y: "worker_ns/relayed",
            unit: Unit::Ns,
            name: "time a cell",
            by: None,
            x: None,
        },
        Chart::Trials {
            heading: "The ratio to the floor, batch by batch",
            lead: "Worker and floor of one batch follow each other, so that what slows the machine down slows down both. \
                   1 would be a node whose every cost is crypto.",
            y: "worker_ns/floor_ns",
            unit: Unit::Ratio,
            name: "worker / floor",
            by: None,
            x: None,
        },
    ],
};

const FLOOR: Plan = Plan {
    tool: "floor",
    title: "The bare crypto of a hop",
    about: "Open, one layer and seal of each cell over the keys of many links: what a node could not do without. Back \
            ends take turns on the same cells.",
    figures: &[
        figure(
            "cells_per_second",
            "one core, the fastest",
            CELLS,
            "10^9 divided by the median time a cell of the fastest back end.",
        ),
        figure("ns_per_cell", "a cell takes", Unit::Ns, "Median over the batches, of the fastest back end."),
        goal(
            figure(
                "times_reference",
                "times the reference",
                Unit::Ratio,
                "How many times the reference's cells a second, in the same run.",
            ),
            Goal::AtLeast(6.0),
        ),
        MEMORY,
    ],
    charts: &[Chart::Trials {
        heading: "Time a cell, batch by batch",
        lead: "Each dot is a batch, each colour a back end. The band holds half of its batches.",
        y: "ns/cells",
        unit: Unit::Ns,
        name: "time a cell",
        by: Some("backend"),
        x: None,
    }],
};

const LINKS: Plan = Plan {
    tool: "links",
    title: "Cost against number of links",
    about: "The same work over more and more links: what grows faster than the floor is what a link costs only by being \
            there.",
    figures: &[
        goal(
            spread(
                figure(
                    "relative",
                    "growth over the floor's",
                    Unit::Ratio,
                    "The hop's growth from the fewest links to the most, by that of the floor.",
                ),
                "relative_iqr",
                "half of the passes",
            ),
            Goal::AtMost(1.15),
        ),
        figure(
            "hop_ratio",
            "hop, most / fewest",
            Unit::Ratio,
            "Time a cell with the most links, by that with the fewest.",
        ),
        figure(
            "floor_ratio",
            "floor, most / fewest",
            Unit::Ratio,
            "The same of the bare crypto: what memory costs anyway.",
        ),
    ],
    charts: &[
        Chart::Against {
            heading: "Time a cell against number of links",
            lead: "Dots are medians, whiskers quartiles. The floor grows because keys leave the caches.",
            x: "links",
            x_name: "links",
            x_unit: Unit::Count(""),
            series: &[("worker_ns/cells", "worker"), ("floor_ns/cells", "floor")],
            unit: Unit::Ns,
            name: "time a cell",
        },
        Chart::Against {
            heading: "Ratio to the floor against number of links",
            lead: "Level is what should be seen.",
            x: "links",
            x_name: "links",
            x_unit: Unit::Count(""),
            series: &[("worker_ns/floor_ns", "worker / floor")],
            unit: Unit::Ratio,
            name: "worker / floor",
        },
    ],
};

const CHAFF: Plan = Plan {
    tool: "chaff",
    title: "What chaff costs",
    about: "Links without a cell to send: each slot is sealed all the same. Duplex: and each brings chaff in, which is \
            opened and dropped.",
    figures: &[
        figure(
            "seal_only.slots_per_second",
            "one core seals",
            Unit::PerSecond("records"),
            "10^9 divided by the median time a record.",
        ),
        figure("seal_only.ns_per_slot", "a record takes", Unit::Ns, "Median over the batches."),
        goal(
            spread(
                figure(
                    "seal_only.floor_ratio",
                    "seal only, worker / floor",
                    Unit::Ratio,
                    "Against seal and mask of the same records.",
                ),
                "seal_only.floor_ratio_iqr",
                "half of the batches",
            ),
            Goal::AtMost(1.6),
        ),
        spread(
            figure(
                "duplex.floor_ratio",
                "duplex, worker / floor",
                Unit::Ratio,
                "Against seal, open and masks of the same records.",
            ),
            "duplex.floor_ratio_iqr",
            "half of the batches",
        ),
    ],
    charts: &[
        Chart::Trials {
            heading: "Time a record, batch by batch",
            lead: "Each dot is a batch; the band holds half of them. Duplex is true where each slot also brings a record in.",
            y: "worker_ns/records",
            unit: Unit::Ns,
            name: "time a record",
            by: Some("duplex"),
            x: None,
        },
        Chart::Trials {
            heading: "The ratio to the floor, batch by batch",
            lead: "Worker and floor of one batch follow each other.",
            y: "worker_ns/floor_ns",
            unit: Unit::Ratio,
            name: "worker / floor",
            by: Some("duplex"),
            x: None,
        },
    ],
};

const PACE: Plan = Plan {
    tool: "pace",
    title: "How punctual departures are",
    about: "A worker under its real loop and clock sends chaff over its links. A departure's lateness is from its slot's \
            instant to the commit that gave it to the port. Beside it, in turns, a bare loop on the same core: what of the \
            lateness is the machine's.",
    figures: &[
        figure("p50_ns", "half within", Unit::Ns, "Median lateness of all departures."),
        figure("p99_ns", "99 % within", Unit::Ns, "99th percentile of lateness of all departures."),
        figure("p999_ns", "99.9 % within", Unit::Ns, "99.9th percentile of lateness of all departures."),
        figure("max_ns", "the latest", Unit::Ns, "The latest departure."),
        figure(
            "missed",
            "slots missed",
            Unit::Count(""),
            "Slots whose record was a whole slot late, or was never sealed: discarded.",
        ),
        figure(
            "machine.p99_ns",
            "the bare loop, 99 %",
            Unit::Ns,
            "99th percentile of the bare loop's gaps or lateness on the same core.",
        ),
    ],
    charts: &[
        Chart::Percentiles {
            heading: "Lateness by percentile",
            lead: "What fraction of departures was no later than a value. The machine's curve is a bare loop's on the same \
                   core, in the same run: what a departure could not be earlier than.",
            prefix: "",
            unit: Unit::Ns,
            name: "lateness",
        },
        Chart::Trials {
            heading: "99th percentile, window by window",
            lead: "Windows of the worker and of the bare loop take turns.",
            y: "p99_ns",
            unit: Unit::Ns,
            name: "99 % within",
            by: Some("kind"),
            x: Some(("at_s", "time", Unit::Seconds)),
        },
    ],
};

const LATENCY: Plan = Plan {
    tool: "latency",
    title: "How long a cell is on its way",
    about: "Cells through one mix and through a chain of mixes, in real time. A mix delays a cell by up \
            to a round by design; so beside the whole way stands the lateness of departures, which is what a mix adds \
            against its design.",
    figures: &[
        figure(
            "one.p50_ns",
            "one mix, half within",
            Unit::Ns,
            "From the far end's delivery to the departure's commit, over a real port to the next peer, at the middle rate.",
        ),
        figure("one.p99_ns", "one mix, 99 % within", Unit::Ns, "The same, 99th percentile."),
        figure(
            "chain.p50_ns",
            "the chain, half within",
            Unit::Ns,
            "Through all mixes of the chain, at the middle rate.",
        ),
        figure("chain.p99_ns", "the chain, 99 % within", Unit::Ns, "The same, 99th percentile."),
    ],
    charts: &[
        Chart::Percentiles {
            heading: "One mix, the whole way",
            lead: "From delivery to departure. A slot drawn at random in a round makes this a slope of one round's height.",
            prefix: "total-1",
            unit: Unit::Ns,
            name: "time on the way",
        },
        Chart::Percentiles {
            heading: "The chain, the whole way",
            lead: "The sum of as many waits as there are mixes.",
            prefix: "total-chain",
            unit: Unit::Ns,
            name: "time on the way",
        },
        Chart::Percentiles {
            heading: "Lateness against the slot",
            lead: "Of the same departures: what is not the wait for the slot.",
            prefix: "late",
            unit: Unit::Ns,
            name: "lateness",
        },
        Chart::Percentiles {
            heading: "From arrival to being taken",
            lead: "From delivery on the wire to the turn that took the frame from the port.",
            prefix: "taken",
            unit: Unit::Ns,
            name: "time until taken",
        },
    ],
};

const NDR: Plan = Plan {
    tool: "ndr",
    title: "The rate that one worker carries without loss",
    about: "Multiple Loss Ratio search (RFC 9971) with the goals of FD.io CSIT: the non-drop rate (NDR) loses nothing, the \
            partial drop rate (PDR) at most 0.5 %. The worker runs in real time on a core of its own, its links' rate is \
            the load; a generator on another core delivers cells that were sealed before.",
    figures: &[
        figure(
            "ndr.conditional_throughput",
            "non-drop rate",
            CELLS,
            "Conditional throughput at the NDR goal's relevant lower bound.",
        ),
        figure(
            "pdr.conditional_throughput",
            "partial drop rate",
            CELLS,
            "Conditional throughput at the PDR goal's relevant lower bound.",
        ),
        figure(
            "generator_ceiling",
            "generator's ceiling",
            CELLS,
            "The rate at which the generator alone delivers: no load above it is valid.",
        ),
        figure("trials", "trials", Unit::Count(""), "Trials measured, invalid ones included."),
    ],
    charts: &[Chart::Search],
};

const CORES: Plan = Plan {
    tool: "cores",
    title: "What a second worker brings",
    about: "Workers on cores of their own, each on its own memory port and virtual clock; with hand-off, half of the \
            circuits leave by a link of another worker. The arrangements take turns.",
    figures: &[
        figure("one.cells_per_second", "one worker", CELLS, "Median over the batches."),
        figure(
            "apart.cells_per_second",
            "all workers, no hand-off",
            CELLS,
            "Sum of all workers, median over the batches.",
        ),
        goal(
            spread(
                figure(
                    "apart.scaling",
                    "scaling, no hand-off",
                    Unit::Ratio,
                    "All workers' rate by one's, of the same round of turns; median.",
                ),
                "apart.scaling_iqr",
                "half of the rounds",
            ),
            Goal::AtLeast(1.8),
        ),
        spread(
            figure(
                "handed.scaling",
                "scaling, 50 % handed over",
                Unit::Ratio,
                "The same with half of the circuits leaving by another worker's link.",
            ),
            "handed.scaling_iqr",
            "half of the rounds",
        ),
        figure(
            "round_trip_ns",
            "core-to-core round trip",
            Unit::Ns,
            "A cache line there and back between the two cores; median.",
        ),
    ],
    charts: &[Chart::Trials {
        heading: "Cells a second, batch by batch",
        lead: "Each dot is what all workers of an arrangement did in one batch.",
        y: "cells_per_second",
        unit: CELLS,
        name: "all workers together",
        by: Some("arrangement"),
        x: None,
    }],
};

const CIRCUITS: Plan = Plan {
    tool: "circuits",
    title: "Circuit set-ups, and what they do to departures",
    about: "One control core answers hybrid set-ups (X25519 and ML-KEM-768) against the bare primitives; then a data plane \
            sends on one core while another answers set-ups in every other window.",
    figures: &[
        figure(
            "set_ups.per_second",
            "one core sets up",
            Unit::PerSecond("circuits"),
            "10^9 divided by the median time a set-up.",
        ),
        goal(
            spread(
                figure(
                    "set_ups.rate_of_primitives",
                    "of the primitives' rate",
                    Unit::Ratio,
                    "Set-ups a second by what the bare primitives would allow.",
                ),
                "set_ups.rate_of_primitives_iqr",
                "half of the batches",
            ),
            Goal::AtLeast(0.8),
        ),
        goal(
            spread(
                figure(
                    "departures.p99_ratio.mean",
                    "99 % lateness with / without",
                    Unit::Ratio,
                    "Median of windows with the flood, by that of windows without.",
                ),
                "departures.p99_ratio",
                "95 % interval",
            ),
            Goal::AtMost(1.2),
        ),
        spread(
            figure(
                "departures.p99_ratio_untagged.mean",
                "the same, machine's delays left out",
                Unit::Ratio,
                "Of departures in turns that began on time: what the machine did to the worker meanwhile is not in it.",
            ),
            "departures.p99_ratio_untagged",
            "95 % interval",
        ),
        figure(
            "departures.flood_per_second",
            "set-ups in the flood",
            Unit::PerSecond("circuits"),
            "What the other core answered while departures were measured.",
        ),
    ],
    charts: &[
        Chart::Parts {
            heading: "Where a set-up's time goes",
            lead: "The bare primitives, and all the rest: messages, limits, transcript, key schedule, requests.",
            unit: Unit::Ns,
            parts: &[("set_ups.floor_ns_each", "bare primitives", 0)],
            whole: Some(("set_ups.ns_each", "all the rest")),
        },
        Chart::Trials {
            heading: "Time a set-up, batch by batch",
            lead: "Batches of both kinds take turns.",
            y: "ns_each",
            unit: Unit::Ns,
            name: "time a set-up",
            by: Some("kind"),
            x: None,
        },
        Chart::Trials {
            heading: "Lateness of departures, window by window",
            lead: "99th percentile of each window, with the flood and without.",
            y: "p99_ns",
            unit: Unit::Ns,
            name: "99 % within",
            by: Some("kind"),
            x: None,
        },
        Chart::Percentiles {
            heading: "Lateness by percentile",
            lead: "All windows of a kind together.",
            prefix: "lateness",
            unit: Unit::Ns,
            name: "lateness",
        },
    ],
};

const PACKETS: Unit = Unit::PerSecond("packets");

const FORWARD: Plan = Plan {
    tool: "forward",
    title: "Receive to transmit, without any crypto",
    about: "A loop that receives bursts on a port, reads each packet's header and sends it back. What other figures over the \
            same port are compared to.",
    figures: &[
        figure("packets_per_second", "one core forwards", PACKETS, "10^9 divided by the median time a packet."),
        spread(
            figure(
                "ns_per_packet",
                "a packet takes",
                Unit::Ns,
                "From receive to the end of transmit; median of batches.",
            ),
            "ns_per_packet_iqr",
            "half of the batches",
        ),
        figure(
            "lost",
            "packets lost",
            Unit::Count("packets"),
            "Sent by the peers and not back; `drops` in the summary says where.",
        ),
        goal(
            spread(
                figure(
                    "against.difference_ns",
                    "more than testpmd",
                    Unit::Ns,
                    "Ours minus testpmd's macswap, a packet, on the same devices and the same core, in turns.",
                ),
                "against.difference_ns_iqr",
                "half of the pairs",
            ),
            Goal::AtMost(5.0),
        ),
    ],
    charts: &[Chart::Trials {
        heading: "Time a packet, batch by batch",
        lead: "Each dot is a batch; the band holds half of them.",
        y: "ns/forwarded",
        unit: Unit::Ns,
        name: "time a packet",
        by: None,
        x: None,
    }],
};

const RELAY: Plan = Plan {
    tool: "relay",
    title: "Relaying over a real port",
    about: "A worker, the very one that a mix runs, relays cells over the port; in turns with it packets are forwarded over \
            such a port without crypto, and cells relayed over memory.",
    figures: &[
        figure("cells_per_second", "one core relays", CELLS, "10^9 divided by the median time a cell, over the port."),
        figure("ns_per_cell", "a cell over the port", Unit::Ns, "Receive to transmit, chaff included; median."),
        figure("forward_ns_per_packet", "a packet over the port", Unit::Ns, "Received and sent back, without crypto."),
        figure("hop_ns_per_cell", "a cell over memory", Unit::Ns, "The same worker and world without a network."),
        goal(
            spread(
                figure(
                    "relay_ratio",
                    "(relay - forward) / hop",
                    Unit::Ratio,
                    "What relaying costs beyond the port, to hop's.",
                ),
                "relay_ratio_iqr",
                "half of the trials",
            ),
            Goal::AtMost(1.3),
        ),
    ],
    charts: &[
        Chart::Parts {
            heading: "Where a cell's time goes",
            lead: "What forwarding a packet takes, and all the rest.",
            unit: Unit::Ns,
            parts: &[("forward_ns_per_packet", "the port", 0)],
            whole: Some(("ns_per_cell", "the worker")),
        },
        Chart::Trials {
            heading: "Time a relayed cell, batch by batch",
            lead: "Each dot is a batch over the port.",
            y: "relay_ns/relay_cells",
            unit: Unit::Ns,
            name: "time a cell",
            by: None,
            x: None,
        },
    ],
};

const GENERATE: Plan = Plan {
    tool: "generate",
    title: "Fresh cells, sealed and sent",
    about: "A source of valid cells for other measurements, and its own limits.",
    figures: &[
        spread(
            figure("packets_per_second", "sent", CELLS, "Cells that the port took, a second; median of ten slices."),
            "packets_per_second_iqr",
            "half of the slices",
        ),
        figure(
            "ceiling_packets_per_second",
            "could be sealed",
            CELLS,
            "Sealing alone, into memory that nobody reads: no port is fed faster.",
        ),
        figure(
            "missing",
            "did not come",
            Unit::Count("cells"),
            "Taken by the port and not received, where both ends are ours.",
        ),
    ],
    charts: &[Chart::Trials {
        heading: "Time a cell, slice by slice",
        lead: "Each dot is a tenth of the run: how steadily it sent.",
        y: "ns/sent",
        unit: Unit::Ns,
        name: "time a cell",
        by: None,
        x: None,
    }],
};
