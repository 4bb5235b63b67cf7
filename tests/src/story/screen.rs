//! What a person sees: chapters, facts, and below them a live table of the interfaces.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Between two looks at the records.
const LOOK: Duration = Duration::from_millis(500);

/// The terminal. Where there is none, lines only.
#[derive(Debug)]
pub struct Screen {
    lines: MultiProgress,
    begin: Instant,
    terminal: bool,
}

impl Screen {
    /// A screen whose clock starts now.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it starts a clock, and a default would hide that"
    )]
    pub fn new() -> Self {
        Self {
            lines: MultiProgress::new(),
            begin: Instant::now(),
            terminal: console::Term::stderr().is_term(),
        }
    }

    /// A new chapter.
    pub fn chapter(&self, title: &str) {
        self.line(&format!(
            "\n{} {}",
            self.clock(),
            console::style(title).bold()
        ));
    }

    /// Something that was seen to hold.
    pub fn fact(&self, text: &str) {
        self.line(&format!(
            "{}   {} {text}",
            self.clock(),
            console::style("✔").green()
        ));
    }

    /// Something that is under way.
    pub fn progress(&self, text: &str) {
        self.line(&format!("{}     {text}", self.clock()));
    }

    /// A line as it is.
    #[expect(
        clippy::print_stderr,
        reason = "without a terminal, standard error is the screen"
    )]
    pub fn line(&self, text: &str) {
        // A terminal that is gone is no reason to end the story.
        if !self.terminal || self.lines.println(text).is_err() {
            eprintln!("{text}");
        }
    }

    /// Shows what `kubectl get nea` says below all else, until the returned value is dropped.
    #[must_use]
    pub fn follow(&self, kubectl: Command) -> Live {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let table = self.lines.add(ProgressBar::new_spinner());
        table.set_style(
            ProgressStyle::with_template("\n{msg}").expect("the template is a constant"),
        );
        let terminal = self.terminal;
        let thread = thread::spawn(move || {
            let mut kubectl = kubectl;
            kubectl.args(["get", "nea"]).stderr(Stdio::null());
            while terminal && !stopped.load(Ordering::Relaxed) {
                if let Ok(output) = kubectl.output() {
                    table.set_message(
                        String::from_utf8_lossy(&output.stdout)
                            .trim_end()
                            .to_owned(),
                    );
                }
                thread::sleep(LOOK);
            }
            table.finish_and_clear();
        });
        Live {
            stop,
            thread: Some(thread),
        }
    }

    fn clock(&self) -> String {
        console::style(format!("{:6.1} s", self.begin.elapsed().as_secs_f32()))
            .dim()
            .to_string()
    }
}

/// The live table; it goes when this is dropped.
#[derive(Debug)]
pub struct Live {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the table is not the story's.
            let _ = thread.join();
        }
    }
}
