# frozen_string_literal: true

require "spec_helper"

# A server that waits uses no CPU, in whatever state its connections are and whatever their clients have done. A task that
# wakes itself would use a whole core.
RSpec.describe "A server that waits", if: ProcessCost.available? do
  # The share of a core above which the server is taken to spin. A right one uses about a hundredth.
  spins = 0.25

  # The states that use the CPU, tried one by one, for the message of a failure.
  def spinning(fault, draining, limit)
    ConnectionStates::STATES.keys.select do |name|
      states = ConnectionStates.new
      states.reach([name])
      states.inflict(fault)
      states.begin_drain if draining
      ProcessCost.cpu_share(states.app.pid) > limit
    rescue Errno::ENOENT
      false # The drain is over: nothing waited in that state.
    ensure
      states&.kill
    end
  end

  def expect_rest(states, fault, limit, draining: false)
    share = ProcessCost.cpu_share(states.app.pid)
    expect(share).to be < limit, -> { "it takes #{share} of a core: with clients #{spinning(fault, draining, limit)}" }
  end

  around do |example|
    @states = ConnectionStates.new
    example.run
  ensure
    @states.kill
  end

  ConnectionStates::FAULTS.each_key do |fault|
    it "uses no CPU while a client in every state #{fault}, and answers all that still listen" do
      descriptors = @states.descriptors
      connections = @states.reach
      @states.inflict(fault)
      expect_rest(@states, fault, spins)
      @states.open_gate
      listening = connections.values_at(*ConnectionStates::ANSWERED).reject(&:closed?)
      expect(listening.map { |connection| connection.read_until("answered") }).to all(include("200 OK"))
      @states.close
      eventually("all connections to be let go") { @states.open_connections == 0 }
      eventually("no descriptor to be left") { (@states.descriptors.to_a - descriptors.to_a).empty? }
      expect(@states).to be_all_workers_meet
      expect(@states.app.output).not_to match(/panicked|ERROR|error:/i)
      expect(@states.app.stop).to be_success
    end

    it "uses no CPU while it drains and a client in every state #{fault}" do
      @states.reach
      @states.inflict(fault)
      @states.begin_drain
      expect_rest(@states, fault, spins, draining: true)
      @states.open_gate
      @states.close
      expect(@states.app.wait).to be_success
    end
  end
end
