//! A run's page: `report.html`, self-contained, from what the run left in its folder.
//!
//! The page has no script and names nothing outside itself. The folder may be anybody's: text is escaped, sizes are
//! bounded, and what lacks or is broken is said on the page.

pub mod cli;
mod folder;
mod hgrm;
mod html;
mod page;
mod plot;
mod svg;
mod tools;
mod unit;

use folder::Folder;
use std::path::{Path, PathBuf};

/// The page's name in its folder.
pub const FILE: &str = "report.html";

/// Reads the folder of a run and writes its page beside it; where that is.
///
/// # Errors
/// It is no run's folder, or it cannot be written to.
pub fn write(dir: &Path) -> Result<PathBuf, String> {
    let page = page::page(&Folder::read(dir)?);
    let path = dir.join(FILE);
    std::fs::write(&path, page).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
