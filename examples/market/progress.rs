//! What a person sees meanwhile, on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::time::Duration;

/// How often progress is worth telling.
pub const EVERY: Duration = Duration::from_millis(100);

/// A bar if stderr is a terminal, else nothing but what must be said.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub fn new(is_wanted: bool) -> Self {
        let target = if is_wanted { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    /// A step without a measure.
    pub fn step(&self, what: &'static str) {
        self.bar.set_message(what);
        self.bar.tick();
    }

    /// A step of so many messages.
    pub fn count(&self, messages: u64, what: &'static str) {
        let style =
            ProgressStyle::with_template("{msg:28} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left");
        self.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.reset();
        self.bar.set_length(messages);
        self.step(what);
    }

    pub fn at(&self, messages: u64) {
        self.bar.set_position(messages);
    }

    /// What it waits for.
    pub fn note(&self, what: String) {
        self.bar.set_message(what);
    }

    /// Says a line, above the bar if there is one.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            say(line);
        } else {
            self.bar.println(line);
        }
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says a line on stderr, if anybody still listens.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
