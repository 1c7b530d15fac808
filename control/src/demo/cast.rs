//! Who plays: two zones of two mixes each, a caller in one and a callee in the other, with identities, documents and
//! configurations made for this run in a folder that goes with it.

use super::DemoArgs;
use super::network::Network;
use super::topology::Known;
use crate::lab::host::{RunFolder, quoted};
use crate::zone::{MixEntry, PeerZone, Slots, ZoneDocument};
use drover_dtls::certificate::{Identity, Role};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Zones, and their mixes' names begin with theirs.
const ZONES: [&str; 2] = ["a", "b"];
/// Mixes of a zone.
const OF_ZONE: usize = 2;
/// All mixes.
pub const MIXES: usize = ZONES.len() * OF_ZONE;
/// Clients, one a zone.
pub const CLIENTS: [&str; 2] = ["caller", "callee"];
/// Certificates and documents are valid for a day: nobody needs them tomorrow.
const DAYS: u32 = 1;
/// Links' keys are renewed this often, s: several times in a demo.
const REKEY_S: u32 = 10;
/// A client keeps its rendezvous mix this long, s.
const EPOCH_S: u32 = 3_600;
/// Slots of a round: client links one for a call and one for all else, mix links four.
const SLOTS: [u32; 2] = [2, 4];
/// r of every link.
const RATCHET_BITS: u8 = 24;

/// One mix's files.
pub struct MixFiles {
    /// Its name.
    pub name: String,
    /// Where its data plane listens.
    pub address: SocketAddr,
    /// Configuration of its data plane.
    pub data_plane: PathBuf,
    /// The data plane's control socket.
    pub data_plane_socket: PathBuf,
    /// Configuration of its control daemon.
    pub control: PathBuf,
    /// The control daemon's own socket.
    pub control_socket: PathBuf,
}

/// One client's files.
pub struct ClientFiles {
    /// Its name.
    pub name: String,
    /// Its configuration.
    pub config: PathBuf,
    /// The control socket of the data plane in it.
    pub data_plane_socket: PathBuf,
    /// Its own socket, for calls.
    pub socket: PathBuf,
    /// Where it takes RTP.
    pub takes: SocketAddr,
}

/// Everybody.
pub struct Cast {
    /// a1, a2, b1, b2.
    pub mixes: Vec<MixFiles>,
    /// Caller, callee.
    pub clients: Vec<ClientFiles>,
    /// Names and ids: mixes, then clients.
    pub known: Vec<Known>,
    /// Each client's first mix and rendezvous mix, by place in `mixes`.
    pub choices: [[usize; 2]; 2],
    // Removed last: fields are dropped in order.
    folder: RunFolder,
}

impl Cast {
    /// Makes everything. `hears` is where caller and callee send what they hear; first and rendezvous mixes come from
    /// `seed`.
    ///
    /// # Errors
    /// What cannot be made or written.
    pub fn make(
        args: &DemoArgs,
        network: &Network,
        seed: u64,
        unix_s: u64,
        hears: [SocketAddr; 2],
    ) -> Result<Cast, String> {
        Cast::make_behind(args, network, seed, unix_s, hears, |_, address| Ok(address))
    }

    /// As [`Cast::make`]; `told` says which address a mix, by name and where it listens, has in the zone's document.
    ///
    /// # Errors
    /// What cannot be made or written, or `told` refuses.
    pub fn make_behind(
        args: &DemoArgs,
        network: &Network,
        seed: u64,
        unix_s: u64,
        hears: [SocketAddr; 2],
        mut told: impl FnMut(&str, SocketAddr) -> Result<SocketAddr, String>,
    ) -> Result<Cast, String> {
        let folder = RunFolder::make()?;
        let at = folder.0.as_path();
        let text = |error: drover_dtls::certificate::CertificateError| error.to_string();
        let (mut known, mut mixes, mut documents) = (Vec::new(), Vec::new(), Vec::new());
        let zones = ZONES.map(|zone| Identity::new_zone(zone, unix_s, DAYS).map_err(text));
        let [a, b] = zones;
        let zones = [a?, b?];
        let mut know = |name: &str, identity: &Identity| {
            known.push(Known { name: name.to_owned(), id: identity.certificate().id().to_string() });
            identity.save(&at.join(name)).map_err(text)
        };
        let (mut entries, mut listens) = (Vec::new(), Vec::new());
        for (zone, authority) in ZONES.iter().zip(&zones) {
            let mut of_zone = Vec::new();
            for number in 1..=OF_ZONE {
                let name = format!("{zone}{number}");
                let identity = authority.issue(&name, Role::Mix, unix_s, DAYS).map_err(text)?;
                know(&name, &identity)?;
                let certificate = identity.certificate().clone();
                let listen = network.listen(listens.len())?;
                listens.push(listen);
                let address = told(&name, listen)?;
                of_zone.push(MixEntry { name, address, certificate });
            }
            entries.push(of_zone);
        }
        for (place, zone) in ZONES.iter().enumerate() {
            let other = 1 - place;
            let document = ZoneDocument {
                zone: (*zone).to_owned(),
                serial: 1,
                validity: (unix_s - 60, unix_s + u64::from(DAYS) * 86_400 - 3_600),
                cell: args.cell,
                rate: args.rate,
                ratchet_bits: RATCHET_BITS,
                rekey_s: REKEY_S,
                epoch_s: EPOCH_S,
                client: Slots { slots: SLOTS[0] },
                within: Slots { slots: SLOTS[1] },
                pair: Slots { slots: SLOTS[1] },
                authority: zones[place].certificate().clone(),
                mixes: entries[place].clone(),
                peers: vec![PeerZone { zone: ZONES[other].to_owned(), authority: zones[other].certificate().clone() }],
            };
            let signed = document.sign(&zones[place]).map_err(|error| error.to_string())?;
            documents.push(write(at, &format!("{zone}.zone"), &signed)?);
        }
        let documents_of = |place: usize| {
            let both = [&documents[place], &documents[1 - place]].map(|path| quoted(path));
            format!("zones = [{}, {}]\n", both[0], both[1])
        };
        for (place, of_zone) in entries.iter().enumerate() {
            for mix in of_zone {
                let listen = listens[mixes.len()];
                mixes.push(mix_files(at, args, network, &mix.name, listen, &documents_of(place))?);
            }
        }
        let choices = choices(seed);
        let mut clients = Vec::new();
        for (place, name) in CLIENTS.iter().enumerate() {
            let identity = zones[place].issue(name, Role::Client, unix_s, DAYS).map_err(text)?;
            know(name, &identity)?;
            let [first, rendezvous] = choices[place].map(|mix| mixes[mix].name.as_str());
            let line = Line {
                name,
                listen: network.client(MIXES + place),
                takes: network.rtp(MIXES + place)?,
                hears: hears[place],
                first,
                rendezvous,
                answers: place == 1,
            };
            clients.push(client_files(at, args, &line, &documents_of(place))?);
        }
        Ok(Cast { mixes, clients, known, choices, folder })
    }

    /// The folder of everything: identities by name, configurations, logs.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// The file with the callee's certificate, as a caller has got it somehow.
    pub fn callee_certificate(&self) -> PathBuf {
        self.folder.0.join(CLIENTS[1]).join("certificate.pem")
    }
}

/// First and rendezvous mix of caller and callee, each one of its zone's, by place.
pub fn choices(seed: u64) -> [[usize; 2]; 2] {
    use rand::{Rng, SeedableRng};
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    [0, 1].map(|zone| [(); 2].map(|()| zone * OF_ZONE + rng.random_range(0..OF_ZONE)))
}

fn write(folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let path = folder.join(name);
    std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn mix_files(
    folder: &Path,
    args: &DemoArgs,
    network: &Network,
    name: &str,
    listen: SocketAddr,
    documents: &str,
) -> Result<MixFiles, String> {
    let name = name.to_owned();
    let socket = folder.join(format!("{name}.sock"));
    let control_socket = folder.join(format!("{name}-control.sock"));
    // Pinned to no core: workers that tick share them with all else here, and one that is pinned waits for its own while
    // another is free.
    let data_plane = format!(
        "cell = {}\n\
         [control]\nsocket = {}\n\
         [pacing]\npolicy = \"tick\"\ntick_us = {}\n\
         [limits]\nlinks = 64\ncircuits = 64\ncells = 2048\ntransmit = 1024\n{}\
         [[worker]]\nlisten = \"{listen}\"\n",
        args.cell,
        quoted(&socket),
        args.tick_us,
        network.port_section(),
    );
    let control = format!(
        "identity = {}\n{documents}data_plane = {}\ncontrol_socket = {}\n",
        quoted(&folder.join(&name)),
        quoted(&socket),
        quoted(&control_socket),
    );
    Ok(MixFiles {
        data_plane: write(folder, &format!("{name}-data-plane.toml"), &data_plane)?,
        data_plane_socket: socket,
        control: write(folder, &format!("{name}-control.toml"), &control)?,
        control_socket,
        address: listen,
        name,
    })
}

/// A client's part.
struct Line<'c> {
    name: &'c str,
    listen: SocketAddr,
    takes: SocketAddr,
    hears: SocketAddr,
    first: &'c str,
    rendezvous: &'c str,
    answers: bool,
}

fn client_files(folder: &Path, args: &DemoArgs, line: &Line<'_>, documents: &str) -> Result<ClientFiles, String> {
    let Line { name, listen, takes, hears, first, rendezvous, answers } = line;
    let socket = folder.join(format!("{name}.sock"));
    let agent = folder.join(format!("{name}-agent.sock"));
    let text = format!(
        "cell = {}\ncontrol_socket = {}\nlisten = \"{listen}\"\ntick_us = {}\n\
         identity = {}\n{documents}mix = \"{first}\"\nstate = {}\nsocket = {}\nauto_answer = {answers}\n\
         lab_rendezvous = \"{rendezvous}\"\n\
         [[end]]\nend = 1\nrtp_listen = \"{takes}\"\nrtp_send_to = \"{hears}\"\n",
        args.cell,
        quoted(&socket),
        args.tick_us,
        quoted(&folder.join(name)),
        quoted(&folder.join(format!("{name}-state"))),
        quoted(&agent),
    );
    Ok(ClientFiles {
        name: (*name).to_owned(),
        config: write(folder, &format!("{name}.toml"), &text)?,
        data_plane_socket: socket,
        socket: agent,
        takes: *takes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::config::ClientConfig;
    use crate::mix::config::MixConfig;
    use crate::plane::Now;
    use drover_dataplane::config::Config;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_made_is_what_the_programs_read_and_goes() {
        let args = DemoArgs {
            seconds: None,
            cell: 512,
            rate: 60,
            wav: None,
            out: "out".into(),
            seed: None,
            json: true,
            ipv6: false,
            port: Default::default(),
            tick_us: 500,
            kill_control: None,
        };
        let unix_s = Now::read().unix_s;
        let hears = [5004, 5006].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let cast = Cast::make(&args, &Network::loopback(false), 7, unix_s, hears).expect("made");
        let folder = cast.folder.0.clone();
        assert_eq!(std::fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
        let read = |path: &Path| std::fs::read_to_string(path).expect("written");
        let names: Vec<_> = cast.mixes.iter().map(|mix| mix.name.as_str()).collect();
        assert_eq!(names, ["a1", "a2", "b1", "b2"]);
        for mix in &cast.mixes {
            let data_plane = Config::parse(&read(&mix.data_plane)).expect("sound");
            assert_eq!((&data_plane.socket, data_plane.tick_us), (&mix.data_plane_socket, 500));
            let control = MixConfig::load(&mix.control, unix_s).expect("sound");
            assert_eq!((&control.data_plane, &control.control_socket), (&mix.data_plane_socket, &mix.control_socket));
            let own = control.zones.own();
            assert_eq!((own.cell, own.rate, control.zones.all().count()), (512, 60, 2));
            let entry = own.mixes.iter().find(|entry| entry.name == mix.name).expect("listed");
            assert_eq!(entry.address, data_plane.workers[0].listen);
        }
        for (client, [first, rendezvous]) in cast.clients.iter().zip(cast.choices) {
            let config = ClientConfig::parse(&read(&client.config)).expect("sound");
            let agent = config.agent.expect("it calls");
            let [first, rendezvous] = [first, rendezvous].map(|mix| Some(cast.mixes[mix].name.clone()));
            assert_eq!((agent.mix, agent.lab_rendezvous), (first, rendezvous));
            assert_eq!((agent.socket, agent.auto_answer), (client.socket.clone(), client.name == "callee"));
            assert_eq!(config.ends[0].listen, client.takes);
        }
        assert!(cast.callee_certificate().is_file());
        assert_eq!(cast.known.len(), 6);
        drop(cast);
        assert!(!folder.exists());
    }

    #[test]
    fn every_choice_of_mixes_comes_from_some_seed() {
        let drawn: std::collections::BTreeSet<_> = (0..200).map(choices).collect();
        assert_eq!(drawn.len(), 16);
        assert!(
            drawn
                .iter()
                .all(|[caller, callee]| caller.iter().all(|mix| *mix < 2) && callee.iter().all(|mix| *mix >= 2))
        );
        assert_eq!(choices(7), choices(7));
    }
}
