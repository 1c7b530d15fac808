//! DPDK's own testpmd, which exchanges Ethernet addresses (`macswap`) on the same virtual devices with the same memory.
//!
//! It stays up while ours is measured, and forwards only in windows of its own: between two of its reports of what passed
//! since the last one, by its own clock.

use super::dpdk::{Asked, PLAIN_MIB};
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
/// From start to the window, and the window.
const SETTLE: Duration = Duration::from_millis(30);
const WINDOW: Duration = Duration::from_millis(200);
/// The most that it says, bytes.
const OUTPUT_MAX: usize = 16 << 20;

/// One window.
pub struct Window {
    /// ns a packet, both devices' together on one core.
    pub ns_per_packet: f64,
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
    pub fn start(asked: &Asked, huge: bool) -> Result<Testpmd, String> {
        let mut command = Command::new(PROGRAM);
        match huge {
            true => command.arg("--in-memory"),
            false => command.args(["--no-huge", "--no-shconf", "-m", &PLAIN_MIB.to_string()]),
        };
        command.args(["--no-pci", "--no-telemetry"]).arg(format!("--lcores=0@{},1@{}", asked.other_core, asked.core));
        command.args(asked.devices.iter().map(|device| format!("--vdev={device}")));
        command.args(["--", "-i", "--forward-mode=macswap", "--nb-cores=1", "--total-num-mbufs=8192"]);
        command.arg(format!("--burst={BURST}"));
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

    /// Lets it forward for a window.
    pub fn window(&mut self) -> Result<(), String> {
        self.tell("start")?;
        std::thread::sleep(SETTLE);
        self.tell("show port stats all")?;
        std::thread::sleep(WINDOW);
        self.tell("show port stats all")?;
        self.tell("stop")
    }

    /// Ends it: what each window was.
    pub fn finish(mut self) -> Result<Vec<Window>, String> {
        // It ends without a prompt.
        self.stdin.write_all(b"quit\n").map_err(|error| format!("{PROGRAM}: {error}"))?;
        let output = self.output.join().map_err(|_| format!("the reader of {PROGRAM} panicked"))?;
        let status = self.child.wait().map_err(|error| format!("{PROGRAM}: {error}"))?;
        if !status.success() {
            return Err(format!("{PROGRAM} ended with {status}"));
        }
        windows(&String::from_utf8_lossy(&output))
    }

    fn tell(&mut self, command: &str) -> Result<(), String> {
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

/// The rates of each window: the second of each two reports, both devices'.
fn windows(output: &str) -> Result<Vec<Window>, String> {
    let rates: Vec<f64> = output
        .split("Rx-pps:")
        .skip(1)
        .map(|rest| rest.split_whitespace().next().and_then(|word| word.parse().ok()))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{PROGRAM} told a rate that is no number"))?;
    let (reports, rest) = rates.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{PROGRAM} told {} rates, not four a window", rates.len()));
    }
    let of = |[_, _, first, second]: &[f64; 4]| match first + second {
        sum if sum > 0.0 => Ok(Window { ns_per_packet: 1e9 / sum }),
        _ => Err(format!("{PROGRAM} forwarded nothing in a window")),
    };
    reports.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_nonsense_is_not() {
        let report = |rate: &str| format!("  Rx-pps:   {rate}   Rx-bps:  0\n  Tx-pps:  1\n");
        let all = [report("5"), report("6"), report("10000000"), report("30000000")].concat();
        let read = windows(&all).expect("one window");
        assert_eq!(read.iter().map(|window| window.ns_per_packet).collect::<Vec<_>>(), [25.0]);
        assert!(windows(&all[..all.len() / 2]).is_err(), "half a window");
        assert!(windows(&all.replace("30000000", "many")).is_err());
        assert!(windows(&[report("0"), report("0"), report("0"), report("0")].concat()).is_err());
    }
}
