//! Which instructions others can see, of a known piece of code. Without the test harness, whose threads must not be there
//! when a victim is forked.
#![allow(unsafe_code, reason = "the piece of code")]

#[cfg(target_arch = "x86_64")]
fn main() {
    on_x86_64::stores_to_shared_memory_and_system_calls_are_visible();
    on_x86_64::a_change_that_was_not_foreseen_is_found();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {}

#[cfg(target_arch = "x86_64")]
mod on_x86_64 {
    use killstep::route::{End, Path};
    use killstep::victim::{Victim, mark};
    use killstep::world::World;
    use shmlog::{Allocation, Arena};
    use std::arch::asm;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    const WORDS: usize = 16;
    /// Bytes that `rep` copies, each of which is a step.
    const COPIED: usize = 5;
    /// Stores to shared memory: plain, locked, of a vector, past the cache, each byte copied.
    const STORES: usize = 4 + COPIED;

    struct Piece {
        arena: Arena,
        place: Allocation,
    }

    impl Piece {
        fn new() -> Self {
            let arena = Arena::create_memfd("piece", 4096).unwrap();
            let place = arena.allocate(8 * WORDS as u64, 64).unwrap();
            Self { arena, place }
        }

        fn shared(&self) -> &[AtomicU64] {
            self.arena.atomics(self.place).unwrap()
        }

        fn words(&self) -> Vec<u64> {
            self.shared().iter().map(|word| word.load(Relaxed)).collect()
        }

        fn start(&self) -> Victim {
            self.shared().iter().for_each(|word| word.store(0, Relaxed));
            Victim::start(|| self.play()).unwrap()
        }

        /// Every store to shared memory changes it; so does every one to private memory, which nobody sees.
        fn play(&self) {
            let mut private = [0x0101_0101_0101_0101_u64; WORDS];
            let (shared, own) = (self.shared()[0].as_ptr(), private.as_mut_ptr());
            mark();
            // SAFETY: both are `WORDS` words; the system call is `getpid`; what it changes is told.
            unsafe {
                asm!(
                    "mov rax, 7",
                    "mov [{shared}], rax",
                    "mov [{own}], rax",
                    "lock xadd [{shared} + 8], rax",
                    "mov rax, [{shared}]",
                    "lock xadd [{own} + 8], rax",
                    "pcmpeqd xmm0, xmm0",
                    "movups [{shared} + 16], xmm0",
                    "movups [{own} + 16], xmm0",
                    "mov rax, 9",
                    "movnti [{shared} + 40], rax",
                    "lea rdi, [{shared} + 64]",
                    "lea rsi, [{own} + 64]",
                    "mov rcx, {copied}",
                    "rep movsb",
                    "lea rdi, [{own} + 80]",
                    "lea rsi, [{shared}]",
                    "mov rcx, {copied}",
                    "rep movsb",
                    "mov eax, 39",
                    "syscall",
                    shared = in(reg) shared,
                    own = in(reg) own,
                    copied = const COPIED,
                    out("rax") _,
                    out("rcx") _,
                    out("rsi") _,
                    out("rdi") _,
                    out("r11") _,
                    out("xmm0") _,
                );
            }
            mark();
            assert_eq!(private[0], 7);
        }
    }

    pub fn stores_to_shared_memory_and_system_calls_are_visible() {
        let piece = Piece::new();
        let path = Path::record(&mut piece.start(), End::Mark).unwrap();
        assert_eq!(path.visible(), STORES + 1, "and the system call");
        let (_, unseen) = path.compared();
        assert_eq!(unseen, (path.len() - path.visible()) as u64, "all others were looked at");
        let mut before = vec![0; WORDS];
        let mut changes = 0;
        for executed in 1..=path.len() {
            let mut victim = piece.start();
            assert!(victim.follow(&path.steps_to(executed)).unwrap());
            victim.kill().unwrap();
            let now = piece.words();
            assert!(now == before || path.is_visible(executed - 1), "instruction {executed} changed something");
            changes += usize::from(now != before);
            before = now;
        }
        assert_eq!(changes, STORES, "all that is visible, but for the system call, changed something");
    }

    pub fn a_change_that_was_not_foreseen_is_found() {
        let piece = Piece::new();
        let path = Path::record(&mut piece.start(), End::Mark).unwrap();
        let mut victim = piece.start();
        let mut world = World::of(&victim, None).unwrap();
        world.pass(&victim, 0, false).unwrap();
        (0..path.len()).for_each(|_| victim.step().unwrap());
        assert!(world.pass(&victim, path.len(), true).unwrap_err().to_string().contains("unforeseen"));
        assert_eq!(world.compared(), (0, 0));
    }
}
