//! `drover`, the operator's command line: see [`drover_control::cli`].
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    drover_control::cli::main()
}
