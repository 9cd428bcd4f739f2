//! Which instructions others can see: system calls, and stores into memory that is shared.
//!
//! All else that a process does is gone with it. So a death after any other instruction leaves what a death after the
//! last one that can be seen leaves. In doubt an instruction counts as one that can be seen. A system call is one
//! instruction: what is left of one that was cut short, as of a long write, is not looked at here.

use crate::victim::Victim;
use anyhow::{Context, Result};
use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, Mnemonic, OpAccess, Register, UsedMemory};
use nix::libc::user_regs_struct;
use std::collections::HashMap;
use std::fs::{File, read_to_string};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// More bytes than any instruction takes.
const LONGEST: usize = 16;
/// Bytes from its address on that a store of unknown length may change, as that of all registers.
const UNKNOWN_BYTES: u64 = 16 << 10;

/// Memory that a process shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it is.
    pub range: Range<u64>,
    /// What of which file it is: device, inode, offset, as `/proc/PID/maps` has them.
    pub what: String,
}

/// The shared mappings of a process.
///
/// # Errors
/// What the system says.
pub fn shared_mappings(victim: &Victim) -> Result<Vec<Mapping>> {
    let maps = read_to_string(format!("/proc/{}/maps", victim.pid())).context("its mappings")?;
    let mut mappings = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (range, rights) = (words.next().context("a mapping")?, words.next().context("its rights")?);
        if rights.ends_with('s') {
            let (start, end) = range.split_once('-').context("a range")?;
            let range = u64::from_str_radix(start, 16)?..u64::from_str_radix(end, 16)?;
            mappings.push(Mapping { range, what: words.take(3).collect::<Vec<_>>().join(" ") });
        }
    }
    Ok(mappings)
}

/// What there is to know of the instruction at an address.
#[derive(Debug)]
enum Known {
    /// A system call, or none that could be decoded.
    Seen,
    /// What it may write to: where that is depends on the registers.
    Stores(Vec<UsedMemory>),
}

/// Tells the instructions of a process apart.
pub struct Sight {
    memory: File,
    shared: Vec<Mapping>,
    known: HashMap<u64, Known>,
    decoded: InstructionInfoFactory,
}

impl Sight {
    /// Of a stopped process. Its code stays as it is.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(victim: &Victim) -> Result<Self> {
        let memory = File::open(format!("/proc/{}/mem", victim.pid())).context("its memory")?;
        let shared = shared_mappings(victim)?;
        Ok(Self { memory, shared, known: HashMap::new(), decoded: InstructionInfoFactory::new() })
    }

    /// Whether others can see the instruction at which the process stands with these registers.
    ///
    /// # Errors
    /// What the system says.
    pub fn sees(&mut self, registers: &user_regs_struct) -> Result<bool> {
        let ip = registers.rip;
        if !self.known.contains_key(&ip) {
            let known = self.decode(ip)?;
            self.known.insert(ip, known);
        }
        Ok(match &self.known[&ip] {
            Known::Seen => true,
            Known::Stores(stores) => stores.iter().any(|store| self.is_shared(store, registers)),
        })
    }

    /// After an instruction that others can see, which may have been a system call that maps something.
    ///
    /// # Errors
    /// What the system says.
    pub fn refresh(&mut self, victim: &Victim, executed: u64) -> Result<()> {
        if matches!(self.known.get(&executed), Some(Known::Seen)) {
            self.shared = shared_mappings(victim)?;
        }
        Ok(())
    }

    fn decode(&mut self, ip: u64) -> Result<Known> {
        let mut code = [0; LONGEST];
        let len = self.memory.read_at(&mut code, ip).context("its code")?;
        let instruction = Decoder::with_ip(64, &code[..len], ip, DecoderOptions::NONE).decode();
        let is_call = matches!(instruction.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter | Mnemonic::Int);
        if instruction.is_invalid() || is_call {
            return Ok(Known::Seen);
        }
        let used = self.decoded.info(&instruction).used_memory();
        Ok(Known::Stores(used.iter().filter(|memory| is_written(memory.access())).copied().collect()))
    }

    fn is_shared(&self, store: &UsedMemory, registers: &user_regs_struct) -> bool {
        let Some(start) = store.virtual_address(0, |register, _, _| value_of(register, registers)) else { return true };
        let len_bytes = match store.memory_size().size() as u64 {
            0 => UNKNOWN_BYTES,
            len_bytes => len_bytes,
        };
        let end = start.saturating_add(len_bytes);
        self.shared.iter().any(|Mapping { range, .. }| range.start < end && start < range.end)
    }
}

fn is_written(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

/// A register that an address is made of; `None` for a vector of them.
fn value_of(register: Register, registers: &user_regs_struct) -> Option<u64> {
    let whole = match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    };
    Some(if register.size() == 4 { whole & u64::from(u32::MAX) } else { whole })
}
