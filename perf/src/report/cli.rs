//! `drover-perf report`.

use std::path::PathBuf;

/// Writes report.html into the folder of a run: one page with plots, to be opened in any browser.
///
/// Every run writes its page at its end; this makes it anew from config.json, host.json, trials.csv, summary.json and the
/// .hgrm files. The page needs no network and no script. Nothing in the folder is trusted: text is escaped, and what lacks
/// or is too large is said on the page.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The folder that a run wrote.
    pub dir: PathBuf,
}

/// Writes the page and says where it is.
///
/// # Errors
/// The folder is not a run's, or cannot be written to.
pub fn run(args: &Args) -> Result<String, String> {
    super::write(&args.dir).map(|path| path.display().to_string())
}
