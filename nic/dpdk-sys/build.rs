//! Builds the shim against the system's libdpdk and links it, with the feature `system`; else nothing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "system")]
    system::build();
}

#[cfg(feature = "system")]
mod system {
    use std::process::Command;

    /// The oldest DPDK whose interface the shim uses: Debian 12's, a long-term release.
    const OLDEST: &str = "22.11";
    /// What the shim calls. DPDK's drivers are not among them: EAL loads those itself, from the folder it was built with.
    const LIBRARIES: [&str; 5] = ["rte_eal", "rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring"];
    /// Drivers with an interface of their own. They are in the library folder too, and linked only by programs that use them.
    const DRIVERS: [&str; 1] = ["rte_net_ring"];

    pub fn build() {
        for name in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        println!("cargo::rerun-if-changed=shim");
        let Some(flags) = flags() else { return };
        compile(&flags);
        link();
    }

    /// The compiler's flags, taken whole: DPDK's headers need `-include rte_config.h` and its `-march`, which tools that read
    /// only folders and definitions would lose.
    fn flags() -> Option<Vec<String>> {
        let wanted = format!("libdpdk >= {OLDEST}");
        match pkg_config(&["--print-errors", "--cflags", &wanted]) {
            Ok(flags) => Some(flags.split_whitespace().map(String::from).collect()),
            Err(why) => {
                let why = why.lines().collect::<Vec<_>>().join("; ");
                println!("cargo::error=the feature `dpdk` needs DPDK {OLDEST} or later with its headers: {why}");
                println!(
                    "cargo::error=install it (Debian, Ubuntu: apt-get install libdpdk-dev pkg-config), set PKG_CONFIG_PATH to the \
                     folder of libdpdk.pc, or build without the feature `dpdk`"
                );
                None
            }
        }
    }

    fn compile(flags: &[String]) {
        let mut build = cc::Build::new();
        build.files(["shim/eal.c", "shim/device.c", "shim/burst.c", "shim/ring_pair.c"]);
        // Not ours to judge: DPDK's headers.
        build.std("gnu11").opt_level(3).warnings(true).flag("-Wno-deprecated-declarations");
        flags.iter().for_each(|flag| _ = build.flag(flag));
        build.compile("drover_dpdk_shim");
    }

    fn link() {
        if let Ok(folder) = pkg_config(&["--variable=libdir", "libdpdk"]) {
            println!("cargo::rustc-link-search=native={}", folder.trim());
        }
        for library in LIBRARIES.iter().chain(&DRIVERS) {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    }

    fn pkg_config(arguments: &[&str]) -> Result<String, String> {
        let program = std::env::var("PKG_CONFIG").unwrap_or_else(|_| String::from("pkg-config"));
        let output = Command::new(&program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
