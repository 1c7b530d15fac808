//! Reading and writing the file, and who else may read it.

use super::{FILE_MAX, Network, NetworkError};
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// Reads and checks a file.
///
/// # Errors
///
/// [`NetworkError`]: no such file, others may read it, no TOML, or what [`Network::problems`] finds.
pub fn read(path: &Path) -> Result<Network, NetworkError> {
    let fail = |problem| NetworkError::new(path, problem);
    let mend = "make one with `drover lab keys --out FILE`";
    let mut file = File::open(path).map_err(|error| fail(format!("{error}; {mend}")))?;
    let meta = file.metadata().map_err(|error| fail(error.to_string()))?;
    if !meta.is_file() {
        return Err(fail(format!("is not a file; {mend}")));
    }
    if meta.mode() & 0o077 != 0 {
        let (mode, shown) = (meta.mode() & 0o777, path.display());
        return Err(fail(format!(
            "holds secrets and others may read it (mode {mode:04o}); if nobody has: chmod 600 {shown}, else make a new one"
        )));
    }
    if meta.len() > FILE_MAX {
        return Err(fail(format!("is longer than {} MiB; is this a lab network file?", FILE_MAX >> 20)));
    }
    let mut text = Zeroizing::new(String::with_capacity(meta.len() as usize + 1));
    (&mut file)
        .take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(|error| fail(format!("{error}; is this a lab network file?")))?;
    parse(path, &text)
}

/// Reads and checks a file's text; `path` is for the errors.
///
/// # Errors
///
/// As [`read`].
pub fn parse(path: &Path, text: &str) -> Result<Network, NetworkError> {
    let mut network: Network = toml::from_str(text).map_err(|error| {
        // Never the whole error: it quotes the line, and a line may hold a secret.
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        NetworkError::new(path, format!("line {line}: {}", error.message()))
    })?;
    let problems = network.problems();
    if !problems.is_empty() {
        return Err(NetworkError { path: path.to_owned(), problems });
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    for node in &mut network.nodes {
        node.socket = folder.join(&node.socket);
    }
    Ok(network)
}

/// Writes a new file with mode 0600; an existing one is left alone.
///
/// # Errors
///
/// [`NetworkError`]: the file exists or cannot be written, or the network has problems.
pub fn write(path: &Path, network: &Network) -> Result<(), NetworkError> {
    let problems = network.problems();
    if !problems.is_empty() {
        return Err(NetworkError { path: path.to_owned(), problems });
    }
    let fail = |error: std::io::Error| {
        NetworkError::new(
            path,
            match error.kind() {
                ErrorKind::AlreadyExists => {
                    "exists, and its keys may be in use; remove it or give another name".to_owned()
                }
                _ => format!("cannot be written: {error}"),
            },
        )
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(text(network).as_bytes()).and_then(|()| file.sync_all()).map_err(fail)
}

/// The file's text. Room for all of it is taken first, so that no copy of a secret stays behind in a smaller buffer.
pub fn text(network: &Network) -> Zeroizing<String> {
    let items = network.nodes.len() + network.classes.len() + network.links.len();
    let items = items + network.calls.len() + network.crowds.len();
    let sockets: usize = network.nodes.iter().map(|n| n.socket.as_os_str().len() + 64 * n.listen.len()).sum();
    let mut out = Zeroizing::new(String::with_capacity(1024 + 1024 * items + 2 * sockets));
    // Writing to a `String` does not fail.
    let _ = render(network, &mut out);
    out
}

fn render(network: &Network, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "# A lab network (docs/wire.md, W-LAB). It holds secrets: who can read it can open all that is sent."
    )?;
    writeln!(out, "cell = {}\nrate = {}", network.cell, network.rate)?;
    for node in &network.nodes {
        let kind = format!("{:?}", node.kind).to_lowercase();
        writeln!(out, "\n[[node]]\nname = {}\nkind = \"{kind}\"", quoted(&node.name))?;
        writeln!(out, "socket = {}", quoted(&node.socket.to_string_lossy()))?;
        let listen: Vec<String> = node.listen.iter().map(|a| format!("\"{a}\"")).collect();
        writeln!(out, "listen = [{}]", listen.join(", "))?;
    }
    for class in &network.classes {
        writeln!(out, "\n[[class]]\nid = {}\nname = {}", class.id, quoted(&class.name))?;
        writeln!(out, "kind = \"{}\"\nslots = {}", class.kind.name(), class.slots)?;
        if let Some(rounds) = class.rounds {
            writeln!(out, "rounds = {rounds}")?;
        }
    }
    for link in &network.links {
        writeln!(out, "\n[[link]]\nname = {}", quoted(&link.name))?;
        writeln!(out, "a = {}\nb = {}\nclass = {}", quoted(&link.a), quoted(&link.b), quoted(&link.class))?;
        writeln!(out, "a_worker = {}\nb_worker = {}", link.a_worker, link.b_worker)?;
        writeln!(out, "ratchet_bits = {}", link.ratchet_bits)?;
        secret(&link.secret, out);
    }
    for call in &network.calls {
        let path: Vec<String> = call.path.iter().map(|name| quoted(name)).collect();
        writeln!(out, "\n[[call]]\nname = {}\npath = [{}]", quoted(&call.name), path.join(", "))?;
        writeln!(out, "caller_end = {}\ncallee_end = {}", call.caller_end, call.callee_end)?;
        secret(&call.secret, out);
    }
    for crowd in &network.crowds {
        writeln!(out, "\n[[crowd]]\nname = {}\nmix = {}", quoted(&crowd.name), quoted(&crowd.mix))?;
        writeln!(out, "worker = {}\nclass = {}\nlinks = {}", crowd.worker, quoted(&crowd.class), crowd.links)?;
        secret(&crowd.secret, out);
    }
    Ok(())
}

fn secret(secret: &super::FileSecret, out: &mut String) {
    out.push_str("secret = \"");
    secret.push_hex(out);
    out.push_str("\"\n");
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
