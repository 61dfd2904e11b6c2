# frozen_string_literal: true

desc "Let clients come and go in storms of messages, by a random seed ($STORM_ROUNDS, 20; $STORM_SECONDS, 180)"
task storm: :compile do
  seed = ENV.fetch("STORM_SEED") { Random.rand(1 << 30).to_s }
  puts "STORM_SEED=#{seed}"
  seconds = ENV.fetch("STORM_SECONDS", "180") # for the one over processes
  # Idle streams get messages without being woken (src/push/fan_out.rs), or each stream is woken and sends by itself.
  ENV.fetch("STORM_FAN_OUT", "on off").split.each do |fan_out|
    puts "STORM_FAN_OUT=#{fan_out}"
    sh({ "STORM_SEED" => seed, "STORM_ROUNDS" => ENV.fetch("STORM_ROUNDS", "20"), "STORM_SECONDS" => seconds,
         "STORM_FAN_OUT" => fan_out },
       "rspec", "spec/channels/storm_spec.rb", "spec/channels/process_storm_spec.rb")
  end
end

namespace :storm do
  desc "Send signals in the middle of boots, restarts and stops, by a random seed ($STORM_SECONDS, 180)"
  task signals: :compile do
    seed = ENV.fetch("STORM_SEED") { Random.rand(1 << 30).to_s }
    puts "STORM_SEED=#{seed}"
    sh({ "STORM_SEED" => seed, "STORM_SECONDS" => ENV.fetch("STORM_SECONDS", "180") },
       "rspec", "spec/cluster/transitions_spec.rb", "--example", "for a while")
  end
end
