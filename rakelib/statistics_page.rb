# frozen_string_literal: true

require "push_server"

# docs/statistics.md, made from the one table of counters.
module StatisticsPage
  PATH = File.expand_path("../docs/statistics.md", __dir__)

  HEAD = <<~MARKDOWN
    # Statistics

    `bin/run rake docs` writes this page from the table of counters in the code.

    `PushServer.stats` returns a Hash of counters. They count since the server in this process was made. Without a server the Hash
    is empty. Counting is always on, because one count costs only an addition. A call takes microseconds. It is allowed in any thread.

    ```ruby
    stats = PushServer.stats
    stats[:open_websockets]                            # 1312
    stats[:queue_microseconds].fdiv(stats[:jobs])      # how long a job waits for a worker on average, in µs
    stats[:jobs].fdiv(stats[:batches])                 # how many jobs are done each time that Ruby's lock is taken
    ```

    Counters only grow, except those whose names begin with `open_`, and `queued_bytes`, `channel_bytes`, `channels`, `readers` and
    `spooled_bytes`, which say what is true now. Many counters say how often a limit was reached: [options](options.md).
  MARKDOWN

  module_function

  def markdown
    rows = PushServer.const_get(:NativeServer)::STATISTICS.map { |name, doc| "| `#{name}` | #{doc.gsub("|", "\\|")} |\n" }
    "#{HEAD}\n| | |\n|---|---|\n#{rows.join}"
  end
end
