//! `drover zone`: identities of a zone, its mixes and clients, and the signed document that all of them go by.

use super::print;
use crate::zone::plan::{self, MIX_FILE, Plan, PlannedMix};
use crate::zone::{self, Problem, Slots, ZoneDocument, utc};
use clap::{Args, Subcommand};
use drover_dtls::certificate::{Certificate, CertificateError, Identity, Role};
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What `drover zone` does; its help is in the list of commands.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLE)]
pub enum ZoneCommand {
    // No comments on these: the arguments' own are shown, all of them.
    New(NewArgs),
    Mix(MixArgs),
    Client(ClientArgs),
    Document(DocumentArgs),
    Check(CheckArgs),
}

const EXAMPLE: &str = "\
From nothing to two mixes and a client:
  drover zone new north --out north
  drover zone mix m1 --zone north --out m1 --address 192.0.2.1:4001
  drover zone mix m2 --zone north --out m2 --address 192.0.2.2:4001
  drover zone client alice --zone north --out alice
  drover zone document --zone north --mix m1 --mix m2 --out north.zone
  drover zone check north.zone --authority north

A folder of an identity has identity.key, for its owner's eyes only, and certificate.pem, which anybody may have.
The exit status is 0 for success, 1 when a file cannot be written, 2 for anything wrong with what was given.";

/// Makes a zone's identity: identity.key (mode 0600) and certificate.pem in a folder (mode 0700).
///
/// Nothing is overwritten. Give certificate.pem to whoever is to trust the zone: clients get it in their folders, other zones
/// name it with --peer.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// The zone's name: 1 to 64 of a-z, 0-9, dot and hyphen
    name: String,
    /// The folder to make
    #[arg(long)]
    out: PathBuf,
    /// Days that the certificate is valid
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Issues a mix's identity into a folder, and notes there (mix.toml) where the mix listens.
///
/// Bring the folder to the mix's machine by a way that keeps identity.key secret, and make the zone's document anew: a mix
/// that no document lists is nobody's neighbour.
#[derive(Debug, Args)]
pub struct MixArgs {
    /// The mix's name: 1 to 64 of a-z, 0-9, dot and hyphen
    name: String,
    /// The zone's folder
    #[arg(long)]
    zone: PathBuf,
    /// The folder to make
    #[arg(long)]
    out: PathBuf,
    /// Where its data plane is reached by other mixes and clients, ADDRESS:PORT; no host name
    #[arg(long)]
    address: String,
    /// Days that the certificate is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Issues a client's identity into a folder.
///
/// The client also needs the zone's document (and those of zones that it is to call), which anybody may have.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The client's name: 1 to 64 of a-z, 0-9, dot and hyphen
    name: String,
    /// The zone's folder
    #[arg(long)]
    zone: PathBuf,
    /// The folder to make
    #[arg(long)]
    out: PathBuf,
    /// Days that the certificate is valid
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: u32,
}

/// Makes and signs a zone's document from flags, from a plan, or from both: flags win, mixes and peers are added.
///
/// Two zones that are to have links name each other's certificate as a peer, and agree on --cell, --rate, --pair and
/// --ratchet-bits. A new document replaces an older one in the same file; bring it to every mix and client before the old one
/// ends.
#[derive(Debug, Args)]
pub struct DocumentArgs {
    /// The zone's folder
    #[arg(long)]
    zone: PathBuf,
    /// A plan, TOML: the flags' names as keys, [slots], [[mix]], [[peer]]; see docs/operations.md
    #[arg(long)]
    plan: Option<PathBuf>,
    /// A mix: a folder that `drover zone mix` made, or its certificate and where it is reached
    #[arg(long, value_name = "FOLDER|CERTIFICATE@ADDRESS:PORT")]
    mix: Vec<PlannedMix>,
    /// A zone to have links with: its certificate, or a folder with it
    #[arg(long, value_name = "CERTIFICATE")]
    peer: Vec<PathBuf>,
    /// Cell size in bytes: 256, 512 or 1024 [default: 256]
    #[arg(long)]
    cell: Option<u16>,
    /// u, the rate of one call, in cells a second [default: 50]
    #[arg(long)]
    rate: Option<u32>,
    /// Slots of a client link's round: calls and one for control [default: 2]
    #[arg(long, value_name = "SLOTS")]
    client: Option<u32>,
    /// Slots of links between the zone's mixes [default: 8]
    #[arg(long, value_name = "SLOTS")]
    within: Option<u32>,
    /// Slots of links to other zones' mixes [default: 8]
    #[arg(long, value_name = "SLOTS")]
    pair: Option<u32>,
    /// Link keys step on after 2 to this many records [default: 24]
    #[arg(long)]
    ratchet_bits: Option<u8>,
    /// Link keys are agreed anew after this many seconds [default: 600]
    #[arg(long)]
    rekey_s: Option<u32>,
    /// Clients keep their rendezvous mix this many seconds [default: 86400]
    #[arg(long)]
    epoch_s: Option<u32>,
    /// Days that the document is valid [default: 90]
    #[arg(long)]
    days: Option<u32>,
    /// Serial number, larger than that of the document before [default: seconds since 1970]
    #[arg(long)]
    serial: Option<u64>,
    /// The file to write
    #[arg(long)]
    out: PathBuf,
}

/// Checks a zone's document: its signature, its time and every value; and shows what it says.
///
/// Every fault is told at once, with what is allowed and how to mend it. Without --authority the signature is checked against
/// whom the document names itself, which says that it is whole, not whose it is.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The document
    file: PathBuf,
    /// The certificate that it must be signed by, or a folder with it
    #[arg(long, value_name = "CERTIFICATE")]
    authority: Option<PathBuf>,
    /// Print JSON: the document, or its problems
    #[arg(long)]
    json: bool,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// What was given is wrong: exit status 2.
    Input(String),
    /// The system refuses: exit status 1.
    System(String),
}

impl Failure {
    fn input(error: impl std::fmt::Display) -> Failure {
        Failure::Input(error.to_string())
    }
}

/// Runs one of them.
///
/// # Errors
/// [`Failure`].
pub fn run(command: &ZoneCommand) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let said = match command {
        ZoneCommand::New(args) => new(args, now),
        ZoneCommand::Mix(args) => mix(args, now),
        ZoneCommand::Client(args) => client(args, now),
        ZoneCommand::Document(args) => document(args, now),
        ZoneCommand::Check(args) => check(args, now),
    }?;
    print(&said).map_err(Failure::System)
}

fn new(args: &NewArgs, now: u64) -> Result<String, Failure> {
    let zone = Identity::new_zone(&args.name, now, args.days).map_err(|error| named(&args.name, &error))?;
    zone.save(&args.out).map_err(file)?;
    Ok(format!(
        "{}: the identity of zone {}, until {}\n\
         keep identity.key offline; issue mixes next: drover zone mix NAME --zone {} --out FOLDER --address ADDRESS:PORT\n",
        args.out.display(),
        args.name,
        utc(zone.certificate().validity().1),
        args.out.display(),
    ))
}

fn mix(args: &MixArgs, now: u64) -> Result<String, Failure> {
    let address = zone::address(&args.address).ok_or_else(|| {
        let text = &args.address;
        Failure::Input(format!(
            "--address {text:?}: give the address and port of one host, such as 192.0.2.1:4001 or [2001:db8::1]:4001"
        ))
    })?;
    let issued = issue(&args.zone, &args.name, Role::Mix, now, args.days)?;
    issued.save(&args.out).map_err(file)?;
    write_mix_file(&args.out.join(MIX_FILE), address)?;
    let folder = args.out.display();
    let zone = args.zone.display();
    Ok(format!(
        "{folder}: the identity of mix {} at {address}, id {}, until {}\n\
         list it in the zone's document: drover zone document --zone {zone} --mix {folder} ... --out FILE\n",
        args.name,
        issued.certificate().id(),
        utc(issued.certificate().validity().1),
    ))
}

fn client(args: &ClientArgs, now: u64) -> Result<String, Failure> {
    let issued = issue(&args.zone, &args.name, Role::Client, now, args.days)?;
    issued.save(&args.out).map_err(file)?;
    let (folder, id) = (args.out.display(), issued.certificate().id());
    let until = utc(issued.certificate().validity().1);
    Ok(format!("{folder}: the identity of client {}, id {id}, until {until}\n", args.name))
}

fn issue(zone: &Path, name: &str, role: Role, now: u64, days: u32) -> Result<Identity, Failure> {
    let authority = authority(zone)?;
    authority.issue(name, role, now, days).map_err(|error| named(name, &error))
}

/// The zone's identity.
fn authority(folder: &Path) -> Result<Identity, Failure> {
    let identity = Identity::load(folder).map_err(|error| {
        let hint = "name the folder that `drover zone new` made";
        Failure::Input(format!("--zone {}: {error}; {hint}", folder.display()))
    })?;
    match identity.certificate().role() {
        Role::Zone => Ok(identity),
        other => {
            let folder = folder.display();
            let text = format!("--zone {folder}: this is the identity of a {other:?}; name the zone's").to_lowercase();
            Err(Failure::Input(text))
        }
    }
}

fn named(name: &str, error: &CertificateError) -> Failure {
    Failure::Input(format!("{name:?}: {error}"))
}

/// Identities are written by their own module; whatever it says is about the folder that was given.
fn file(error: CertificateError) -> Failure {
    Failure::System(error.to_string())
}

fn write_mix_file(path: &Path, address: SocketAddr) -> Result<(), Failure> {
    let text = format!("# Where this mix is reached: read by `drover zone document --mix`.\naddress = \"{address}\"\n");
    let made = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Failure::System(format!("{}: {error}", path.display())))
}

fn document(args: &DocumentArgs, now: u64) -> Result<String, Failure> {
    let identity = authority(&args.zone)?;
    let plan = planned(args)?;
    let document = plan.document(identity.certificate(), now).map_err(Failure::input)?;
    let text = document.sign(&identity).map_err(Failure::input)?;
    may_replace(&args.out, &document)?;
    write_whole(&args.out, &text)?;
    let file = args.out.display();
    Ok(format!("{file}: signed\n{}", describe(&document)))
}

/// The plan's file with the flags over it.
fn planned(args: &DocumentArgs) -> Result<Plan, Failure> {
    let mut plan = match &args.plan {
        None => Plan::default(),
        Some(file) => {
            let text = zone::read_file(file).map_err(|error| Failure::Input(format!("--plan {error}")))?;
            let folder = file.parent().unwrap_or(Path::new(""));
            Plan::parse(&text, folder).map_err(|error| Failure::Input(format!("--plan {}: {error}", file.display())))?
        }
    };
    fn set<T: Copy>(value: &mut T, flag: Option<T>) {
        if let Some(flag) = flag {
            *value = flag;
        }
    }
    set(&mut plan.cell, args.cell);
    set(&mut plan.rate, args.rate);
    set(&mut plan.client, args.client);
    set(&mut plan.within, args.within);
    set(&mut plan.pair, args.pair);
    set(&mut plan.ratchet_bits, args.ratchet_bits);
    set(&mut plan.rekey_s, args.rekey_s);
    set(&mut plan.epoch_s, args.epoch_s);
    set(&mut plan.days, args.days);
    plan.serial = args.serial.or(plan.serial);
    if !plan::DAYS.contains(&plan.days.into()) {
        let (least, most) = (plan::DAYS.start(), plan::DAYS.end());
        return Err(Failure::Input(format!("--days {}: {least} to {most}", plan.days)));
    }
    plan.mixes.extend(args.mix.iter().cloned());
    plan.peers.extend(args.peer.iter().cloned());
    if plan.mixes.is_empty() {
        let mend = "give --mix FOLDER for each that `drover zone mix` made, or a --plan with [[mix]]";
        return Err(Failure::Input(format!("a document without mixes; {mend}")));
    }
    Ok(plan)
}

/// Only an older document of the same zone is replaced.
fn may_replace(out: &Path, new: &ZoneDocument) -> Result<(), Failure> {
    if std::fs::symlink_metadata(out).is_err() {
        return Ok(());
    }
    let place = out.display();
    let other = |what: &str| Failure::Input(format!("--out {place}: {what}; name another file, or move it away"));
    let there = zone::read_file(out).map_err(|_| other("what is there is no zone document"))?;
    let table = there.parse::<toml::Table>().map_err(|_| other("what is there is no zone document"));
    // An old document may be over, or have had other limits: only its name and number matter here.
    let authority = ZoneDocument::authority_of(out).map_err(|_| other("what is there is no zone document"))?;
    if authority != new.authority {
        return Err(other("what is there is another zone's document"));
    }
    let serial = table?.get("serial").and_then(toml::Value::as_integer).and_then(|n| u64::try_from(n).ok());
    match serial {
        Some(serial) if serial >= new.serial => {
            let mend = "give a larger --serial, or another file";
            Err(Failure::Input(format!(
                "--out {place}: what is there has serial {serial}, not below {}; {mend}",
                new.serial
            )))
        }
        _ => Ok(()),
    }
}

/// Writes beside the file and puts it in place at once: a reader sees the old or the new.
fn write_whole(out: &Path, text: &str) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::System(format!("--out {}: {error}", out.display()));
    let mut name = out.file_name().ok_or_else(|| Failure::Input("--out: name a file".to_owned()))?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = out.with_file_name(name);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, out)
    });
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        fail(error)
    })
}

fn check(args: &CheckArgs, now: u64) -> Result<String, Failure> {
    let trusted = args.authority.as_deref().map(trusted).transpose()?;
    let text = zone::read_file(&args.file).map_err(Failure::input)?;
    let checked = ZoneDocument::check(&text, trusted.as_ref(), now);
    let file = args.file.display();
    match checked {
        Ok(document) if args.json => Ok(pretty(&as_json(&document, trusted.is_some()))),
        Ok(document) => {
            let whose = match &trusted {
                Some(_) => "sound, and signed by the given authority".to_owned(),
                None => "sound; signed by whom it names itself, give --authority to say whom you trust".to_owned(),
            };
            Ok(format!("{file}: {whose}\n{}", describe(&document)))
        }
        Err(problems) if args.json => {
            print(&pretty(&problems_as_json(&problems))).map_err(Failure::System)?;
            let count = problems.len();
            Err(Failure::Input(format!("{file}: {count} problem{}", if count == 1 { "" } else { "s" })))
        }
        Err(_) => {
            // The same once more, told for people.
            let error = ZoneDocument::parse(&text, trusted.as_ref(), now).err().map(|error| error.to_string());
            Err(Failure::Input(format!("{file}: {}", error.unwrap_or_default())))
        }
    }
}

fn trusted(file: &Path) -> Result<Certificate, Failure> {
    let within = file.join("certificate.pem");
    let file = if file.is_dir() { &within } else { file };
    let fail = |error: String| {
        Failure::Input(format!("--authority {}: {error}; give the zone's certificate.pem", file.display()))
    };
    let certificate = Certificate::load(file).map_err(|error| fail(error.to_string()))?;
    match certificate.role() {
        Role::Zone => Ok(certificate),
        other => Err(fail(format!("this is the certificate of a {other:?}").to_lowercase())),
    }
}

fn describe(document: &ZoneDocument) -> String {
    use std::fmt::Write;
    let ZoneDocument { zone, serial, validity: (from, until), cell, rate, ratchet_bits, rekey_s, epoch_s, .. } =
        document;
    let cells = |slots: Slots| format!("{} cells/s ({} slots)", u64::from(slots.slots) * u64::from(*rate), slots.slots);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "zone          {zone}, id {}, serial {serial}", document.authority.id());
    let _ = writeln!(text, "valid         {} to {}", utc(*from), utc(*until));
    let _ = writeln!(text, "cells         {cell} bytes, {rate} a second for a call");
    let _ = writeln!(text, "client links  {}", cells(document.client));
    let _ = writeln!(text, "within        {}", cells(document.within));
    let _ = writeln!(text, "to others     {}", cells(document.pair));
    let _ = writeln!(text, "keys          agreed anew every {rekey_s} s, stepped on every 2^{ratchet_bits} records");
    let _ = writeln!(text, "epoch         {epoch_s} s");
    for mix in &document.mixes {
        let (id, until) = (mix.certificate.id(), utc(mix.certificate.validity().1));
        let _ = writeln!(text, "mix           {} at {}, id {id}, until {until}", mix.name, mix.address);
    }
    for peer in &document.peers {
        let _ = writeln!(text, "peer          {}, id {}", peer.zone, peer.authority.id());
    }
    text
}

fn as_json(document: &ZoneDocument, trusted: bool) -> serde_json::Value {
    let mixes: Vec<_> = document
        .mixes
        .iter()
        .map(|mix| {
            let (id, until) = (mix.certificate.id().to_string(), mix.certificate.validity().1);
            json!({ "name": mix.name, "address": mix.address.to_string(), "id": id, "valid_until": until })
        })
        .collect();
    let peers: Vec<_> =
        document.peers.iter().map(|peer| json!({ "zone": peer.zone, "id": peer.authority.id().to_string() })).collect();
    json!({
        "sound": true,
        "trusted": trusted,
        "zone": document.zone,
        "id": document.authority.id().to_string(),
        "serial": document.serial,
        "valid_from": document.validity.0,
        "valid_until": document.validity.1,
        "cell": document.cell,
        "rate": document.rate,
        "ratchet_bits": document.ratchet_bits,
        "rekey_s": document.rekey_s,
        "epoch_s": document.epoch_s,
        "slots": {
            "client": document.client.slots,
            "within": document.within.slots,
            "pair": document.pair.slots,
        },
        "mixes": mixes,
        "peers": peers,
    })
}

fn problems_as_json(problems: &[Problem]) -> serde_json::Value {
    let problems: Vec<_> = problems
        .iter()
        .map(|Problem { key, value, allowed, mend }| {
            json!({ "key": key, "value": value, "allowed": allowed, "mend": mend })
        })
        .collect();
    json!({ "sound": false, "problems": problems })
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
