# frozen_string_literal: true

require "spec_helper"

# Each transition of the server meets each signal, in an order by a seed: all pairs with the tag full, and one signal of each kind for
# each transition otherwise. `rake storm:signals` repeats it with other seeds (STORM_SEED, STORM_SECONDS).
RSpec.describe "A signal in the middle of a transition", transport: :tcp do
  seed = Integer(ENV.fetch("STORM_SEED", 42))

  def transitions(random, preload)
    Transitions.new(random, preload: preload, launch: ->(*arguments, **how) { launch_app(*arguments, **how) })
  end

  targets = Clusters::TARGETS.values

  { "with preload" => true, "without preload" => false }.each do |mode, preload|
    describe mode do
      Transitions::SERVING.each_slice(4).with_index do |states, index|
        it "leaves the server serving with the workers that it should have: #{states.join(", ")}" do
          random = Random.new(seed + index)
          table = transitions(random, preload)
          kinds = [%w[USR1 USR2], %w[TTIN TTOU], %w[HUP PWR]].map { |kind| kind.shuffle(random: random).cycle }
          problems = states.filter_map do |state|
            table.cross(state, kinds.map(&:next).shuffle(random: random), targets.sample(random: random))
          end
          expect(problems.join("\n\n")).to eq("")
          expect(table.stop).to be_success
        end
      end

      [*Transitions::SERVING, Transitions::STOPPING].each_slice(4).with_index do |states, index|
        it "stops the server if it is TERM, INT or QUIT: #{states.join(", ")}", full: preload ? nil : true do
          random = Random.new(seed + index)
          table = transitions(random, preload)
          stops = Transitions::STOPS.shuffle(random: random).cycle
          problems = states.filter_map { |state| table.cross(state, [stops.next], targets.sample(random: random)) }
          expect(problems.join("\n\n")).to eq("")
        end
      end

      Transitions::STARTING.each do |state|
        it "leaves the server serving, or stops it, while it starts: #{state}" do
          random = Random.new(seed)
          table = transitions(random, preload)
          problems = [[Transitions::OTHERS.sample(2, random: random)], [Transitions::STOPS.sample(1, random: random)]].map do |(signals)|
            problem = table.cross(state, signals, targets.sample(random: random))
            table.stop
            problem
          end
          expect(problems.compact.join("\n\n")).to eq("")
        end
      end

      it "does so for each pair", :full do
        random = Random.new(seed)
        pairs = Transitions::ALL.product(Transitions::OTHERS + Transitions::STOPS).shuffle(random: random)
        expect(run_pairs(pairs, random, preload)).to eq([])
      end
    end
  end

  it "does so for random signals, for a while", if: ENV.key?("STORM_SECONDS") do
    random = Random.new(seed)
    deadline = Deadline.in(Float(ENV.fetch("STORM_SECONDS")))
    problems = []
    until deadline.passed? || problems.any?
      pairs = Array.new(20) { [Transitions::ALL.sample(random: random), some_signals(random)] }
      problems = run_pairs(pairs, random, [true, false].sample(random: random))
    end
    expect(problems).to eq([])
  end

  # Mostly such that do not end the server.
  def some_signals(random)
    signals = Array.new(random.rand(1..4)) { Transitions::OTHERS.sample(random: random) }
    random.rand(5).zero? ? [*signals, Transitions::STOPS.sample(random: random)] : signals
  end

  define_method(:run_pairs) do |pairs, random, preload|
    table = transitions(random, preload)
    problems = pairs.filter_map do |state, signals|
      table.stop if Transitions::STARTING.include?(state)
      problem = table.cross(state, Array(signals), targets.sample(random: random))
      table.app.kill if problem && table.app&.running?
      problem
    end
    table.stop
    problems
  end
end
