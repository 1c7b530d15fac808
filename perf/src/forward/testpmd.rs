//! DPDK's own testpmd, which exchanges Ethernet addresses (`macswap`) on the same virtual devices with the same memory.
//!
//! It tells rates by its own clock: each of its reports is of what passed since the one before.

use drover_nic::BURST;
use drover_nic::child::end_with_parent;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

/// The program, as Debian's package `dpdk` installs it.
const PROGRAM: &str = "dpdk-testpmd";
/// What it says when it waits for a command; this comes unbuffered.
const PROMPT: &[u8] = b"testpmd> ";
/// A command takes no longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// The last words that an error repeats, bytes.
const LAST_WORDS: usize = 600;
/// The most that it says, bytes.
const OUTPUT_MAX: usize = 16 << 20;

/// How it is started.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Its devices.
    pub devices: &'a [String],
    /// MiB on ordinary pages; none: on huge pages.
    pub plain_mib: Option<u32>,
    /// The core that forwards.
    pub core: usize,
    /// Another one, for its command line.
    pub other_core: usize,
    /// Bytes of the frames that `start tx_first` begins with.
    pub frame: usize,
}

/// testpmd under way.
pub struct Testpmd {
    child: Child,
    stdin: ChildStdin,
    prompts: Receiver<()>,
    output: JoinHandle<Vec<u8>>,
    command: String,
}

impl Testpmd {
    /// Starts it, idle.
    ///
    /// # Errors
    /// It is not installed, or ends.
    pub fn start(setup: Setup<'_>) -> Result<Testpmd, String> {
        let Setup { devices, plain_mib, core, other_core, frame } = setup;
        let mut command = Command::new(PROGRAM);
        match plain_mib {
            None => command.args(["--in-memory", "--single-file-segments"]),
            Some(mib) => command.args(["--no-huge", "--no-shconf", "-m", &mib.to_string()]),
        };
        command.args(["--no-pci", "--no-telemetry"]).arg(format!("--lcores=0@{other_core},1@{core}"));
        command.args(devices.iter().map(|device| format!("--vdev={device}")));
        command.args(["--", "-i", "--forward-mode=macswap", "--nb-cores=1", "--total-num-mbufs=8192"]);
        command.arg(format!("--burst={BURST}")).arg(format!("--txpkts={frame}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        end_with_parent(&mut command, Signal::KILL);
        let line = format!("{command:?}").replace('"', "");
        let mut child = command
            .spawn()
            .map_err(|error| format!("{PROGRAM}: {error}; install it (Debian: dpdk), or leave --against out"))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{PROGRAM} has no pipes"));
        };
        let (prompted, prompts) = mpsc::channel();
        let output = std::thread::spawn(move || read(stdout, &prompted));
        let mut testpmd = Testpmd { child, stdin, prompts, output, command: line };
        testpmd.wait()?;
        Ok(testpmd)
    }

    /// Its command line.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Ends it: all that it said.
    ///
    /// # Errors
    /// It ended otherwise.
    pub fn finish(mut self) -> Result<String, String> {
        // It ends without a prompt.
        self.stdin.write_all(b"quit\n").map_err(|error| format!("{PROGRAM}: {error}"))?;
        let output = self.output.join().map_err(|_| format!("the reader of {PROGRAM} panicked"))?;
        let status = self.child.wait().map_err(|error| format!("{PROGRAM}: {error}"))?;
        if !status.success() {
            return Err(format!("{PROGRAM} ended with {status}"));
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Gives it a command, and waits until it is carried out.
    ///
    /// # Errors
    /// It ended, or does not answer.
    pub fn tell(&mut self, command: &str) -> Result<(), String> {
        writeln!(self.stdin, "{command}").map_err(|error| format!("{PROGRAM}: {error}"))?;
        self.wait()
    }

    /// Until it waits for a command.
    fn wait(&mut self) -> Result<(), String> {
        self.prompts.recv_timeout(PATIENCE).map_err(|_| match self.child.try_wait() {
            Ok(Some(status)) => format!("{PROGRAM} ended with {status}: {}", self.command),
            _ => format!("{PROGRAM} does not answer: {}", self.command),
        })
    }
}

/// Reads all that it says, and tells of each prompt.
fn read(mut stdout: ChildStdout, prompted: &mpsc::Sender<()>) -> Vec<u8> {
    let (mut all, mut looked) = (Vec::new(), 0);
    let mut chunk = [0; 4096];
    while let Ok(len @ 1..) = stdout.read(&mut chunk) {
        if all.len() > OUTPUT_MAX {
            break;
        }
        all.extend_from_slice(&chunk[..len]);
        while let Some(at) = all[looked..].windows(PROMPT.len()).position(|window| window == PROMPT) {
            looked += at + PROMPT.len();
            let _ = prompted.send(());
        }
    }
    all
}

/// The packets a second that each of its reports told to be received, device by device.
///
/// # Errors
/// It told none.
pub fn rates(output: &str) -> Result<Vec<f64>, String> {
    let rates = output.split("Rx-pps:").skip(1).map(|rest| rest.split_whitespace().next()?.parse().ok());
    let rates: Vec<f64> =
        rates.collect::<Option<_>>().ok_or_else(|| format!("{PROGRAM} told a rate that is no number"))?;
    match rates[..] {
        [] => Err(format!("{PROGRAM} told no rate; it said: {}", end_of(output))),
        _ => Ok(rates),
    }
}

/// The last of what it said.
fn end_of(output: &str) -> &str {
    let from = output.len().saturating_sub(LAST_WORDS);
    (from..).find_map(|at| output.get(at..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_nonsense_is_not() {
        let report = |rate: &str| format!("  Rx-pps:   {rate}   Rx-bps:  0\n  Tx-pps:  1\n");
        let all = [report("5"), report("30000000")].concat();
        assert_eq!(rates(&all), Ok(vec![5.0, 3e7]));
        assert!(rates(&all.replace("30000000", "many")).is_err());
        assert!(rates("port 0: no such").unwrap_err().ends_with("it said: port 0: no such"));
    }
}
