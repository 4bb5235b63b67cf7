//! A lab to play with, for `cargo xtask lab`: starts it, says how to get in, and waits. Needs root.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "it talks to the person at the terminal"
)]

use std::{env, error::Error, io::stdin};

use lab::{Config, Lab};

fn main() -> Result<(), Box<dyn Error>> {
    let nodes = env::args().nth(1).map_or(Ok(2), |count| count.parse())?;
    let lab = Lab::start(Config::cluster(nodes), &|line| println!("   {line}"))?;
    println!("\n{}\nPress return to end it.", lab.hold());
    // At the end of the input there is nobody to wait for.
    let _ = stdin().read_line(&mut String::new());
    Ok(())
}
