# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../../rakelib/instructions"

RSpec.describe Instructions do
  def figures(instructions, **others)
    Callgrind::FIGURES.to_h { |name| [name, 0] }.merge("instructions" => instructions, **others.transform_keys { |key| key.to_s.tr("_", " ") })
  end

  def comparison(recorded, counted, recorded_with: { "rustc" => "rustc 1.95.0" })
    recorded, counted = [recorded, counted].map { |paths| paths.transform_values { |it| it.is_a?(Hash) ? it : figures(it) } }
    Instructions::Comparison.new(recorded: recorded, counted: counted, recorded_with: recorded_with,
                                 counted_with: { "rustc" => "rustc 1.95.0" })
  end

  it "fails for a path that has become more expensive, and names only that" do
    dearer = comparison({ "scan" => 1000, "frame" => 1000 }, { "scan" => 1051, "frame" => 1050 })

    expect(dearer).to be_failed
    expect(dearer.verdict).to eq("More expensive than recorded: scan, instructions (+5.1 %). " \
                                 "If this is intended: rake instructions:record")
  end

  it "fails for a path that misses the caches more often" do
    missing = comparison({ "scan" => figures(1, "L1i_misses": 100.0) }, { "scan" => figures(1, "L1i_misses": 117.0) })

    expect(missing).to be_failed
    expect(missing.verdict).to start_with("More expensive than recorded: scan, L1i misses (+17.0 %).")
  end

  it "fails for one more malloc" do
    missing = comparison({ "scan" => figures(1, mallocs: 8.0) }, { "scan" => figures(1, mallocs: 9.0) })

    expect(missing).to be_failed
    expect(missing.verdict).to start_with("More expensive than recorded: scan, mallocs (+12.5 %).")
  end

  it "allows more misses to a path with Ruby, because threads share its work" do
    noisy = comparison({ "Ruby: echo" => figures(1, "LL_misses": 1.0) }, { "Ruby: echo" => figures(1, "LL_misses": 40.0) })

    expect(noisy).not_to be_failed
  end

  it "says that a path has become cheaper and can be recorded" do
    cheaper = comparison({ "scan" => 1000 }, { "scan" => 900 })

    expect(cheaper).not_to be_failed
    expect(cheaper.verdict).to eq("Cheaper than recorded: scan, instructions (-10.0 %). To keep it so: rake instructions:record")
  end

  it "passes within the tolerances" do
    same = comparison({ "scan" => figures(1000, "L1i_misses": 50.0) }, { "scan" => figures(950, "L1i_misses": 1.0) })

    expect(same).not_to be_failed
    expect(same.verdict).to eq("No figure differs from the recorded one by more than is allowed.")
  end

  it "fails for a path that is not recorded, or not counted any more" do
    renamed = comparison({ "old" => 1, "scan" => 1 }, { "new" => 1, "scan" => 1 })

    expect(renamed).to be_failed
    expect(renamed.verdict).to start_with("Recorded and counted paths differ: old, new.")
  end

  it "does not judge figures of another toolchain" do
    other = comparison({ "scan" => 1000 }, { "scan" => 2000 }, recorded_with: { "rustc" => "rustc 1.88.0" })

    expect(other).not_to be_failed
    expect(other.verdict).to start_with("Not judged: recorded with rustc 1.88.0; this is rustc 1.95.0.")
    expect(comparison({}, { "scan" => 1 }, recorded_with: {})).not_to be_failed
  end

  it "shows all figures, and how much each differs from the recorded one" do
    table = comparison({ "scan" => 1000 }, { "scan" => figures(1_234_567, mallocs: 1.5), "frame" => 7 }).table

    expect(table.map { |row| row.split(/ {2,}/) }).to eq(
      [["per operation", "instructions", "L1i misses", "L1d misses", "LL misses", "mallocs"],
       ["scan", "1 234 567 (+123356.7 %)", "0", "0", "0", "1.5"],
       ["frame", "7", "0", "0", "0", "0"]]
    )
    expect(table.map(&:length).uniq.size).to eq(1)
  end

  describe Callgrind do
    it "reads the figures that callgrind prints" do
      printed = "==1== Events    : Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\n==1== Collected : 1000 1 1 20 3 4 5 6 7\n"

      expect(described_class.totals(printed)).to eq("instructions" => 1000, "L1i misses" => 20, "L1d misses" => 7, "LL misses" => 18)
      expect { described_class.totals("valgrind: no such file") }.to raise_error(/counted nothing/)
    end

    it "counts the requests for memory, and what the allocator costs, by name and by the number that stands for the name" do
      lines = <<~OUT.lines
        events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
        fn=(1) main
        16 1000 9 9 9
        cfn=(2) malloc
        calls=3 0
        16 300 0 0 1 2 3 4 5 6
        cfn=(3) memcpy
        calls=5 0
        +1 50
        cfn=(2)
        calls=4 0
        * 400
        cfn=(4) free
        calls=7 0
        16 70
        fn=(5) realloc
        16 20
        cfn=(2)
        calls=1 0
        16 100
      OUT

      expect(described_class.allocation(lines)).to eq("instructions" => 770, "L1i misses" => 1, "L1d misses" => 5,
                                                      "LL misses" => 15, "mallocs" => 7)
    end

    it "reads from a dump what all has cost, and which library has requested memory" do
      lines = <<~OUT.lines
        events: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw
        ob=(1) /usr/lib/libruby-3.1.so.3.1.2
        fn=(1) rb_str_new
        16 1000 9 9 9
        cob=(2) /usr/lib/libc.so.6
        cfn=(2) malloc
        calls=3 0
        16 300
        ob=(3) /lib/push_server.so
        fn=(3) answer
        cob=(2)
        cfn=(2)
        calls=4 0
        * 400
        ob=(2)
        fn=(4) realloc
        cfn=(2)
        calls=1 0
        16 100
        totals: 5000 1 1 20 3 4 5 6 7
      OUT

      expect(described_class.dumped(lines)).to eq(
        [{ "instructions" => 5000, "L1i misses" => 20, "L1d misses" => 7, "LL misses" => 18, "mallocs" => 7 },
         { "/usr/lib/libruby-3.1.so.3.1.2" => 3, "/lib/push_server.so" => 4 }]
      )
      expect { described_class.dumped(lines[0..-2]) }.to raise_error(/counted nothing/)
    end
  end
end
