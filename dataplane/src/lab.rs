//! Switches that break one property each. Lab builds only: tests show that each break is noticed.

/// One broken property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// A departure that carries a cell moves by when the cell came (I6).
    DepartureByArrival,
    /// Chaff is one byte longer than a cell (I6).
    ChaffSize,
    /// Slots lost in a stall are made up in a burst (I6).
    CatchUp,
    /// A record number is used when a cell arrives, not at its slot (I6).
    NumberAtArrival,
    /// `threshold` mixing counts cells, not circuits (I1).
    ThresholdByCells,
    /// Circuit id and counter are copied from link to link (I1).
    CopyHeader,
}

impl Break {
    /// All of them, with their names for a command line.
    pub const ALL: [(&'static str, Break); 6] = [
        ("departure-by-arrival", Break::DepartureByArrival),
        ("chaff-size", Break::ChaffSize),
        ("catch-up", Break::CatchUp),
        ("number-at-arrival", Break::NumberAtArrival),
        ("threshold-by-cells", Break::ThresholdByCells),
        ("copy-header", Break::CopyHeader),
    ];
}

impl std::str::FromStr for Break {
    type Err = String;
    fn from_str(name: &str) -> Result<Break, String> {
        Break::ALL.iter().find(|(n, _)| *n == name).map(|(_, b)| *b).ok_or_else(|| {
            let names: Vec<_> = Break::ALL.iter().map(|(n, _)| *n).collect();
            format!("no break is called {name:?}; there are: {}", names.join(", "))
        })
    }
}
