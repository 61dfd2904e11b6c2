# frozen_string_literal: true

desc "Combine states of connections and workers with faults, by a random seed ($FAULT_ROUNDS, 60)"
task faults: :compile do
  seed = ENV.fetch("FAULT_SEED") { Random.rand(1 << 30).to_s }
  puts "FAULT_SEED=#{seed}"
  sh({ "FAULT_SEED" => seed, "FAULT_ROUNDS" => ENV.fetch("FAULT_ROUNDS", "60") }, "rspec", "spec/faults/combinations_spec.rb")
end
