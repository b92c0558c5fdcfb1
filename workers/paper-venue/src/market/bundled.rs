//! The scenario that is part of the program: `fixtures/market/scenario.csv`, candles of BTC and ETH. The script that
//! drew them is below, with the test that keeps the file and the script the same.

/// The candles, in the same form a user would bring.
pub(super) const SCENARIO: &str = include_str!("../../../../fixtures/market/scenario.csv");

#[cfg(test)]
mod tests {
    use super::super::number::{Fx, PX_ONE, mul_div};
    use super::super::rng::Rng;
    use super::SCENARIO;

    /// The seed of the script; change it and the fixture changes.
    const SEED: u64 = 20_260_101;

    /// What a stretch of minutes does: per-minute move in 1e-5, noise in 1e-5 (one standard deviation).
    struct Minute {
        moved: i64,
        noise: i64,
        wick: i64,
        volume: i64,
    }

    /// The script, minute by minute; `None` is a minute without data.
    fn minute(t: i64, shift: i64) -> Option<Minute> {
        let usual = |moved, noise| Minute { moved, noise, wick: noise, volume: 100 };
        Some(match t {
            // Lively but mild: up nine minutes, down nine, about 1.1 % each way, for an hour and a half.
            0..=94 => usual(if (t + shift + 4) % 18 < 9 { 125 } else { -125 }, 25),
            // Calm.
            95..=114 => usual(0, 15),
            // A steady climb of about 4 %.
            115..=139 => usual(160, 40),
            // The top breaks: more than 13 % in nine minutes.
            140..=148 => Minute {
                moved: [-60, -120, -250, -320, -180, -240, -150, -80, -40][(t - 140) as usize],
                noise: 40,
                wick: 120,
                volume: 600,
            }
            .scaled(),
            149..=158 => Minute { moved: 20, noise: 90, wick: 90, volume: 300 },
            // Twelve minutes of silence, then trading goes on 3 % lower.
            159..=170 => return None,
            171 => Minute { moved: -3_000, noise: 20, wick: 30, volume: 500 },
            172..=184 => Minute { moved: 30, noise: 60, wick: 60, volume: 200 },
            // Recovery.
            185..=219 => usual(190, 55),
            _ => return None,
        })
    }

    impl Minute {
        /// The crash is written in tens of 1e-5.
        fn scaled(self) -> Self {
            Self { moved: self.moved * 10, ..self }
        }
    }

    fn text(px: Fx, cents: bool) -> String {
        if cents { format!("{}.{}", px / PX_ONE, px % PX_ONE / (PX_ONE / 10)) } else { format!("{}", px / PX_ONE) }
    }

    fn script() -> String {
        let mut out = String::from("timestamp,symbol,open,high,low,close,volume\n");
        let mut coins = [
            ("BTC", 60_000 * PX_ONE, 0, false, Rng::new(SEED, "BTC")),
            ("ETH", 2_500 * PX_ONE, 5, true, Rng::new(SEED, "ETH")),
        ];
        for t in 0..220 {
            for (name, px, shift, cents, rng) in &mut coins {
                let Some(m) = minute(t, *shift) else { continue };
                let open = if t == 171 { *px + mul_div(*px, m.moved, 100_000) } else { *px };
                let moved = if t == 171 { 0 } else { m.moved } + m.noise * rng.bell() / 1_000_000;
                let close = open + mul_div(open, moved, 100_000);
                let wick = |rng: &mut Rng| mul_div(open, m.wick * rng.bell().abs() / 2_000_000, 100_000);
                let high = open.max(close) + wick(rng);
                let mut low = open.min(close) - wick(rng);
                // One print at a dollar: somebody sold into nothing. Nobody should believe it.
                if *name == "BTC" && t == 180 {
                    low = PX_ONE;
                }
                let volume = m.volume * rng.range(60, 160) / 100;
                let [o, h, l, c] = [open, high, low, close].map(|p| text(p, *cents));
                out.push_str(&format!("2026-01-01T{:02}:{:02}:00Z,{name},{o},{h},{l},{c},{volume}\n", t / 60, t % 60));
                *px = close;
            }
        }
        out
    }

    /// Run with `HOLDFAST_BLESS=1` to write the file anew; the difference is then reviewed like code.
    #[test]
    fn the_fixture_is_what_the_script_draws() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/market/scenario.csv");
        if std::env::var_os("HOLDFAST_BLESS").is_some() {
            std::fs::write(path, script()).unwrap();
            return;
        }
        assert!(SCENARIO == script(), "fixtures/market/scenario.csv is not what the script draws");
        assert!(SCENARIO.len() <= 60 * 1024);
    }
}
