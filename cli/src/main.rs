//! `cliscale`: parses, and hands over.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::commands::main()
}
