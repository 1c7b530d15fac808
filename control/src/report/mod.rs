//! What a person reads: charts ([`svg`]) and terminal text ([`text`]).

pub mod svg;
pub mod text;
