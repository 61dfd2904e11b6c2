# frozen_string_literal: true

require "push_server"

# docs/statistics.md, made from the one table of counters.
module StatisticsPage
  PATH = File.expand_path("../docs/statistics.md", __dir__)

  HEAD = <<~MARKDOWN
    # Statistics

    Made by `bin/run rake docs` from the table that the server itself uses.

    `PushServer.stats` is a Hash of what the server in this process has counted since it was made. Counting is always on:
    it costs an addition each. Asking costs microseconds, from any thread; without a server the Hash is empty.

    ```ruby
    stats = PushServer.stats
    stats[:open_websockets]                            # 1312
    stats[:queue_microseconds].fdiv(stats[:jobs])      # what a job waits for a worker on average, in µs
    stats[:jobs].fdiv(stats[:batches])                 # jobs done each time that Ruby's lock was taken
    ```

    Numbers only grow, except those named `open_`, and `queued_bytes`, `channel_bytes`, `channels`, `readers` and
    `spooled_bytes`. Those named after a limit tell how often it was hit ([options](options.md)).
  MARKDOWN

  module_function

  def markdown
    rows = PushServer.const_get(:NativeServer)::STATISTICS.map { |name, doc| "| `#{name}` | #{doc.gsub("|", "\\|")} |\n" }
    "#{HEAD}\n| | |\n|---|---|\n#{rows.join}"
  end
end
