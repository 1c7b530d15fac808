//! What a person reads: charts ([`svg`]), terminal text ([`text`]), and the figures in them ([`stats`]).

pub mod stats;
pub mod svg;
pub mod text;
