//! WAV files: reads what people have, writes 16-bit mono 8 kHz.
//!
//! Read: RIFF/WAVE with PCM of 8, 16, 24 or 32 bits or 32-bit float, plain or WAVE_FORMAT_EXTENSIBLE, 8 to 192 kHz, 1 to
//! 8 channels, chunks in any order. A file is hostile input: every length is checked against what is there, and an error
//! names the byte of the file and the mend.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{SAMPLE_RATE, resample};

/// Largest file read, in bytes: six minutes of CD stereo, ten seconds of the heaviest format accepted.
pub const MAX_FILE_BYTES: usize = 64 << 20;
/// Lowest and highest sample rate read, in Hz.
pub const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;
/// Most channels read; they are averaged to one.
pub const MAX_CHANNELS: u16 = 8;
/// Most samples written to one file: its sizes are 32-bit.
pub const MAX_WRITE_SAMPLES: usize = (u32::MAX as usize - HEADER_BYTES) / 2;

/// Bytes before the samples in a file that [`encode`] makes.
const HEADER_BYTES: usize = 44;
const FORMAT_PCM: u16 = 1;
const FORMAT_FLOAT: u16 = 3;
const FORMAT_EXTENSIBLE: u16 = 0xfffe;
/// Bytes 2.. of the sub-format GUID of both formats above; its first two bytes are the format.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// A command that makes any file one we read.
const CONVERT: &str = "convert it: ffmpeg -i in.wav -ac 1 -ar 8000 -c:a pcm_s16le out.wav";

/// Why a file was not read.
#[derive(Debug)]
pub enum WavError {
    /// The file could not be opened or read.
    Io(io::Error),
    /// The file's content was refused.
    Format {
        /// Byte of the file at which the fault lies.
        offset: usize,
        /// The fault, with the value found.
        what: String,
        /// What to do about it.
        mend: &'static str,
    },
}

impl fmt::Display for WavError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WavError::Io(error) => write!(f, "cannot read the WAV file: {error}"),
            WavError::Format { offset, what, mend } => {
                write!(f, "WAV file, byte {offset}: {what}; {mend}")
            }
        }
    }
}

impl std::error::Error for WavError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WavError::Io(error) => Some(error),
            WavError::Format { .. } => None,
        }
    }
}

impl From<io::Error> for WavError {
    fn from(error: io::Error) -> Self {
        WavError::Io(error)
    }
}

/// A decoded file, its channels averaged.
#[derive(Clone, Debug, PartialEq)]
pub struct Wav {
    /// Samples per second in the file.
    pub rate: u32,
    /// Channels in the file.
    pub channels: u16,
    /// Mono samples at `rate`, finite, within ±1.
    pub samples: Vec<f32>,
}

impl Wav {
    /// The samples as 16-bit PCM at 8 kHz. A 16-bit mono file at 8 kHz comes back bit for bit.
    pub fn to_8k(&self) -> Vec<i16> {
        let to_i16 = |x: &f32| (x * 32_768.0).round() as i16; // `as` saturates
        if self.rate == SAMPLE_RATE {
            return self.samples.iter().map(to_i16).collect();
        }
        resample::resample(&self.samples, self.rate, SAMPLE_RATE).iter().map(to_i16).collect()
    }
}

/// Reads a file as mono 16-bit PCM at 8 kHz. Blocks on the disk; reads at most [`MAX_FILE_BYTES`].
pub fn load(path: &Path) -> Result<Vec<i16>, WavError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(decode(&bytes)?.to_8k())
}

/// Writes mono 16-bit PCM at 8 kHz to a new or replaced file.
pub fn save(path: &Path, samples: &[i16]) -> io::Result<()> {
    let bytes = encode(samples).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "more samples than a WAV file's 32-bit sizes can say")
    })?;
    let mut file = File::create(path)?;
    file.write_all(&bytes)?;
    file.sync_all()
}

/// A whole WAV file of mono 16-bit PCM at 8 kHz; `None` above [`MAX_WRITE_SAMPLES`].
pub fn encode(samples: &[i16]) -> Option<Vec<u8>> {
    if samples.len() > MAX_WRITE_SAMPLES {
        return None;
    }
    let data_bytes = (samples.len() * 2) as u32;
    let mut out = Vec::with_capacity(HEADER_BYTES + samples.len() * 2);
    out.extend_from_slice(b"RIFF");
    out.extend_from_slice(&(data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes());
    out.extend_from_slice(b"WAVEfmt ");
    out.extend_from_slice(&16u32.to_le_bytes());
    out.extend_from_slice(&FORMAT_PCM.to_le_bytes());
    out.extend_from_slice(&1u16.to_le_bytes());
    out.extend_from_slice(&SAMPLE_RATE.to_le_bytes());
    out.extend_from_slice(&(SAMPLE_RATE * 2).to_le_bytes());
    out.extend_from_slice(&2u16.to_le_bytes());
    out.extend_from_slice(&16u16.to_le_bytes());
    out.extend_from_slice(b"data");
    out.extend_from_slice(&data_bytes.to_le_bytes());
    out.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    Some(out)
}

/// Decodes a whole file.
pub fn decode(file: &[u8]) -> Result<Wav, WavError> {
    if file.len() > MAX_FILE_BYTES {
        let what = format!("the file is longer than {} MiB", MAX_FILE_BYTES >> 20);
        return refuse(MAX_FILE_BYTES, what, "cut it, or give a mono file of a lower rate");
    }
    let ((format_at, format), (data_at, data)) = chunks(file)?;
    let format = Format::parse(format_at, format)?;
    let frame_bytes = format.channels as usize * format.sample.bytes();
    // A last frame that was cut short is dropped.
    let mut samples = Vec::with_capacity(data.len() / frame_bytes);
    for (index, frame) in data.chunks_exact(frame_bytes).enumerate() {
        let mut sum = 0.0;
        for sample in frame.chunks_exact(format.sample.bytes()) {
            let value = format.sample.decode(sample);
            if !value.is_finite() {
                let what = "a floating-point sample is not a number".to_string();
                return refuse(data_at + index * frame_bytes, what, CONVERT);
            }
            sum += value.clamp(-1.0, 1.0);
        }
        samples.push(sum / format.channels as f32);
    }
    Ok(Wav { rate: format.rate, channels: format.channels, samples })
}

fn refuse<T>(offset: usize, what: String, mend: &'static str) -> Result<T, WavError> {
    Err(WavError::Format { offset, what, mend })
}

/// A chunk's content and its offset in the file.
type Chunk<'a> = (usize, &'a [u8]);

/// Finds the first `fmt ` and the first `data` chunk.
fn chunks(file: &[u8]) -> Result<(Chunk<'_>, Chunk<'_>), WavError> {
    match (file.get(..4), file.get(8..12)) {
        (Some(b"RIFF"), Some(b"WAVE")) => {}
        (Some(b"RF64" | b"RIFX" | b"FORM"), _) => {
            return refuse(0, "RF64, RIFX and AIFF files are not read, only RIFF".into(), CONVERT);
        }
        _ => return refuse(0, "this is no RIFF/WAVE file".into(), CONVERT),
    }
    let (mut format, mut data) = (None, None);
    let mut at = 12;
    while let Some(header) = file.get(at..at + 8) {
        let size = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let start = at + 8;
        let id = [header[0], header[1], header[2], header[3]];
        // Programs that write to a pipe cannot go back to fill in the size and leave it at its largest.
        let size = if size == u32::MAX as usize && id == *b"data" { file.len() - start } else { size };
        let Some(content) = file.get(start..start.saturating_add(size)) else {
            let (name, there) = (id.escape_ascii(), file.len() - start);
            let what = format!("chunk \"{name}\" says {size} bytes, {there} are there");
            return refuse(at, what, "the file was cut: copy it again, or convert it with ffmpeg");
        };
        match &id {
            b"fmt " if format.is_none() => format = Some((start, content)),
            b"data" if data.is_none() => data = Some((start, content)),
            _ => {}
        }
        if format.is_some() && data.is_some() {
            break;
        }
        at = start + size + size % 2; // chunks start at even bytes
    }
    match (format, data) {
        (Some(format), Some(data)) => Ok((format, data)),
        (None, _) => refuse(file.len(), "the file ends without a \"fmt \" chunk".into(), CONVERT),
        (_, None) => refuse(file.len(), "the file ends without a \"data\" chunk".into(), CONVERT),
    }
}

/// How one sample is stored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sample {
    U8,
    I16,
    I24,
    I32,
    F32,
}

impl Sample {
    fn bytes(self) -> usize {
        match self {
            Sample::U8 => 1,
            Sample::I16 => 2,
            Sample::I24 => 3,
            Sample::I32 | Sample::F32 => 4,
        }
    }

    /// `raw` holds exactly `self.bytes()` bytes. Integers are left-justified, whatever the valid bits.
    fn decode(self, raw: &[u8]) -> f32 {
        const FULL: f32 = 2_147_483_648.0;
        match (self, raw) {
            (Sample::U8, &[a]) => (a as f32 - 128.0) / 128.0,
            (Sample::I16, &[a, b]) => i16::from_le_bytes([a, b]) as f32 / 32_768.0,
            (Sample::I24, &[a, b, c]) => i32::from_le_bytes([0, a, b, c]) as f32 / FULL,
            (Sample::I32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32 / FULL,
            (Sample::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            _ => 0.0,
        }
    }
}

struct Format {
    rate: u32,
    channels: u16,
    sample: Sample,
}

impl Format {
    fn parse(at: usize, raw: &[u8]) -> Result<Self, WavError> {
        if raw.len() < 16 {
            return refuse(at, format!("the \"fmt \" chunk has {} bytes, 16 at least", raw.len()), CONVERT);
        }
        let u16_at = |i: usize| u16::from_le_bytes([raw[i], raw[i + 1]]);
        let (mut tag, channels, align, bits) = (u16_at(0), u16_at(2), u16_at(12), u16_at(14));
        let rate = u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]]);
        if tag == FORMAT_EXTENSIBLE {
            let Some(guid) = raw.get(24..40) else {
                let what = format!("the extensible \"fmt \" chunk has {} bytes, 40 at least", raw.len());
                return refuse(at, what, CONVERT);
            };
            if guid[2..] != GUID_TAIL {
                return refuse(at + 24, "the sub-format is unknown".into(), CONVERT);
            }
            tag = u16_at(24);
        }
        let sample = match (tag, bits) {
            (FORMAT_PCM, 8) => Sample::U8,
            (FORMAT_PCM, 16) => Sample::I16,
            (FORMAT_PCM, 24) => Sample::I24,
            (FORMAT_PCM, 32) => Sample::I32,
            (FORMAT_FLOAT, 32) => Sample::F32,
            _ => {
                let what =
                    format!("format {tag} with {bits} bits is not read (PCM of 8, 16, 24, 32 bits; 32-bit float)");
                return refuse(at, what, CONVERT);
            }
        };
        if channels == 0 || channels > MAX_CHANNELS {
            return refuse(at + 2, format!("{channels} channels, 1 to {MAX_CHANNELS} are read"), CONVERT);
        }
        if !RATES.contains(&rate) {
            let what = format!("{rate} samples a second, {} to {} are read", RATES.start(), RATES.end());
            return refuse(at + 4, what, CONVERT);
        }
        if align as usize != channels as usize * sample.bytes() {
            let what = format!("a frame of {align} bytes does not hold {channels} channels of {bits} bits");
            return refuse(at + 12, what, CONVERT);
        }
        Ok(Format { rate, channels, sample })
    }
}

#[cfg(test)]
#[path = "wav_tests.rs"]
mod tests;
