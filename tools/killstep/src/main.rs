//! `killstep`: see the library.

#[cfg(target_arch = "x86_64")]
mod cli;

#[cfg(target_arch = "x86_64")]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(target_arch = "x86_64"))]
fn main() -> std::process::ExitCode {
    eprintln!("killstep: only for x86_64");
    std::process::ExitCode::FAILURE
}
