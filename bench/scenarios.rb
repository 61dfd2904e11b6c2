# frozen_string_literal: true

require_relative "scenario"

module Bench
  # All that can be measured, in this order. A new one is an entry here, and a path in apps/app.ru if it needs one.
  SCENARIOS = [
    Scenario.new("hello", "GET, hello world, 64 keep-alive connections",
                 load: "http --path /hello --connections 64"),
    Scenario.new("hello_tls", "hello, with TLS 1.3", load: "http --path /hello --connections 64", encrypted: true),
    Scenario.new("handshakes", "full TLS 1.3 handshakes (P-256, X25519, AES-128-GCM), 16 connections at a time",
                 load: "handshakes --connections 16", encrypted: true),
    Scenario.new("post", "POST of 1 KB, which comes back, 64 keep-alive connections",
                 load: "http --path /post --size 1024 --connections 64"),
    Scenario.new("echo", "WebSocket echo of 64 bytes, 100 connections, 1 message in flight on each",
                 load: "echo --path /echo --size 64 --connections 100"),
    Scenario.new("pipelined", "WebSocket echo of 64 bytes, 50 connections, 16 messages in flight on each",
                 load: "echo --path /echo --size 64 --connections 50 --in-flight 16"),
    Scenario.new("broadcast_ws", "200 bytes to 1000 WebSockets by a loop of client.write, 2 rounds in flight",
                 load: "broadcast --path /broadcast --size 200 --connections 1000 --in-flight 2"),
    Scenario.new("broadcast_sse", "200 bytes to 1000 event streams by a loop of client.write, 2 rounds in flight",
                 load: "broadcast --path /broadcast --stream sse --size 200 --connections 1000 --in-flight 2"),
    # 25 s is push_server's ping_interval, so each connection is pinged exactly once in the window.
    Scenario.new("idle", "5000 WebSockets that say nothing, for 25 s, heartbeats on",
                 load: "idle --path /echo --connections 5000 --warm-up 2", seconds: 25,
                 figures: %i[memory_per_connection_bytes server_cpu_percent_per_10000],
                 chart: %i[memory_per_connection_bytes server_cpu_percent_per_10000]),
    Scenario.new("idle_tls", "2000 WebSockets with TLS that say nothing, for 5 s",
                 load: "idle --path /echo --connections 2000 --warm-up 2", encrypted: true,
                 figures: %i[memory_per_connection_bytes], chart: %i[memory_per_connection_bytes]),
    Scenario.new("publish", "200 bytes published to 1000 WebSockets that have subscribed, one message at a time",
                 load: "broadcast --path /publish --listen-path /subscribe --size 200 --connections 1000"),
    Scenario.new("publish_tens", "the same, ten messages at a time",
                 load: "broadcast --path /publish --listen-path /subscribe --size 200 --connections 1000 --in-flight 10"),
    *[1000, 4000].flat_map do |size|
      load = "broadcast --path /publish --listen-path /subscribe --message json --size #{size} --connections 1000"
      figures = %i[rate p50_us p99_us server_cpu_us_per_operation bytes_per_operation load_cpu_percent]
      chart = %i[server_cpu_us_per_operation bytes_per_operation]
      title = "JSON of #{size / 1000} KB published to 1000 WebSockets, one message at a time"
      [Scenario.new("publish_json_#{size / 1000}k", title, load: load, figures: figures, chart: chart),
       Scenario.new("publish_deflate_#{size / 1000}k", "the same, compressed", load: "#{load} --stream deflate",
                    options: "--websocket-compression", figures: figures, chart: chart)]
    end,
    Scenario.new("idle_subscribers", "10,000 WebSockets that have subscribed and say nothing, for 25 s, heartbeats on",
                 load: "idle --path /subscribe_quietly --connections 10000 --warm-up 2", seconds: 25,
                 figures: %i[memory_per_connection_bytes server_cpu_percent_per_10000],
                 chart: %i[memory_per_connection_bytes server_cpu_percent_per_10000]),
    *[["tide", "10 KB published 1000 times a second to 10 WebSockets that read", "", 0],
      ["stuck_resume", "the same, and one that never reads: it is closed", "", 1],
      ["stuck_drop", "the same, in a channel with slow: :drop", "-drop", 1],
      ["stuck_latest", "the same, in a channel with slow: :latest", "-latest", 1]].map do |name, title, channel, stuck|
      # 15 s are longer than slow_timeout, and twice as long as it takes to fill push_server's channel_memory.
      Scenario.new(name, title, seconds: 15,
                   load: "tide --path /publish#{channel} --listen-path /subscribe#{channel} --size 10000 --rate 1000 " \
                         "--connections 10 --stuck #{stuck} --warm-up 2",
                   figures: %i[p50_us p99_us max_us skipped server_cpu_percent server_memory_bytes load_cpu_percent],
                   chart: %i[p99_us server_memory_bytes])
    end,
    Scenario.new("hello_5_threads", "hello, on a server with 5 threads",
                 load: "http --path /hello --connections 64", threads: 5),
    Scenario.new("echo_5_threads", "echo, on a server with 5 threads",
                 load: "echo --path /echo --size 64 --connections 100", threads: 5),
    # Two scenarios for one figure: the rate with 9000 connections, divided by that with 100. All connections have a request in
    # flight, more than push_server queues by default. The generator and the server need 9000 descriptors each, so `ulimit -Hn`
    # must allow 10,000.
    Scenario.new("hello_100", "hello, with 100 connections: what \"hello_9000\" is to be compared with",
                 load: "http --path /hello --connections 100"),
    Scenario.new("hello_9000", "the same with 9000 connections", options: "--max-queue 10000",
                 load: "http --path /hello --connections 9000 --warm-up 3"),
    Scenario.new("light", "GET, 450 a second on 100 connections, 5 threads: what is paid for being woken",
                 load: "paced --path /hello --connections 100 --rate 450", threads: 5,
                 figures: %i[p50_us p99_us max_us server_cpu_percent], chart: %i[p99_us server_cpu_percent]),
    # A fixed rate, far below what any server can do. If every answer were followed by the next request, slow requests
    # would soon occupy all threads, and every latency would be about 10 ms. So there are 50 slow requests a second, which
    # occupy half of one thread of five. The scenario shows whether they delay the quick ones.
    Scenario.new("quick", "GET, 450 a second, 5 threads: what \"mixed\" is to be compared with",
                 load: "paced --path /hello --connections 32 --rate 450", threads: 5,
                 figures: %i[p50_us p99_us max_us server_cpu_percent], chart: %i[p99_us server_cpu_percent]),
    Scenario.new("mixed", "the same, and 50 a second that sleep for 10 ms: latency of the quick ones",
                 load: "paced --path /hello --connections 32 --rate 500 --slow-every 10 --slow-path /slow", threads: 5,
                 figures: %i[p50_us p99_us max_us server_cpu_percent], chart: %i[p99_us server_cpu_percent])
  ].freeze
end
