# frozen_string_literal: true

require "spec_helper"

# A waiting server uses no CPU, in any state of its connections. A task that wakes itself would use a whole core.
RSpec.describe "A waiting server", if: ProcessCost.available? do
  # The share of a core above which the server spins. Usually it uses about a hundredth.
  spins = 0.25

  # The states that use the CPU, tried one by one, for the message of a failure.
  def spinning(fault, draining, limit)
    Faults::STATES.map(&:name).select do |name|
      states = Faults::Population.new
      states.reach(Faults::STATES.select { |state| state.name == name })
      states.inflict(fault)
      states.begin_drain if draining
      ProcessCost.cpu_share(states.app.pid) > limit
    rescue Errno::ENOENT
      false # The drain is over: nothing waits in this state.
    ensure
      states&.kill
    end
  end

  def expect_idle(states, fault, limit, draining: false)
    share = ProcessCost.cpu_share(states.app.pid)
    expect(share).to be < limit, -> { "it takes #{share} of a core: with clients #{spinning(fault, draining, limit)}" }
  end

  around do |example|
    @states = Faults::Population.new
    example.run
  ensure
    @states.kill
  end

  Faults::CLIENT_FAULTS.each_key do |fault|
    it "uses no CPU when a client in every state #{fault}, and answers all that can still read" do
      descriptors = @states.descriptors
      connections = @states.reach
      @states.inflict(fault)
      expect_idle(@states, fault, spins)
      @states.open_gate
      listening = connections.select { |state, connection| state.answered? && !connection.closed? }.values
      expect(listening.map { |connection| connection.read_until("waited") }).to all(include("200 OK"))
      @states.close
      eventually("all connections to be closed") { @states.open_connections == 0 }
      eventually("no descriptor to be left") { (@states.descriptors.to_a - descriptors.to_a).empty? }
      expect(@states).to be_all_workers_meet
      expect(@states.app.output).not_to match(/panicked|ERROR|error:/i)
      expect(@states.app.stop).to be_success
    end

    it "uses no CPU while it drains, when a client in every state #{fault}" do
      @states.reach
      @states.inflict(fault)
      @states.begin_drain
      expect_idle(@states, fault, spins, draining: true)
      @states.open_gate
      @states.close
      expect(@states.app.wait).to be_success
    end
  end
end
