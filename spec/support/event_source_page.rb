# frozen_string_literal: true

require_relative "app_process"

# Examples of what every EventSource must do with lines that belong to no event. The group serves EventSourcePage::APP. The block
# opens its page, or a program that does the same.
module EventSourcePage
  APP = File.join(AppProcess::ROOT, "spec/apps/event_source/config.ru")
  # Without `retry:`, a browser waits for 3 s or more.
  OPTIONS = %w[--retry-min 100 --retry-max 100].freeze

  # Longer than usual, because a browser may have to start first.
  PATIENCE = 90

  def expect_return_after_retry_alone
    2.times { app.events.take(event: "open", id: "ending", seconds: PATIENCE) }
    expect(app.events.all(event: "empty").size).to be <= 1
  end

  def expect_nothing_between_events
    app.events.take(event: "open", id: "quiet", seconds: PATIENCE)
    %w[one two].each do |text|
      app.ask("client.write(#{text.inspect})", id: "quiet")
      app.events.take(event: "drained", id: "quiet")
      wait_for_heartbeats
    end
    heard = app.events.take(event: "heard", heard: ->(all) { all.last.last == "two" }, seconds: PATIENCE)
    expect(heard[:heard]).to eq([%w[msg one], %w[msg two]])
  end

  # Only heartbeats are sent now.
  def wait_for_heartbeats
    sent = -> { app.ask("PushServer.stats[:bytes_out]") }
    before = sent.call
    eventually("heartbeats") { sent.call >= before + 4 }
  end
end
