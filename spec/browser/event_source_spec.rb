# frozen_string_literal: true

require "spec_helper"

# No empty line follows `retry:` and heartbeats, so that no client takes them for an event. By the HTML standard (section 9.2.6),
# `retry:` counts as soon as its line has ended, even if nothing else follows.
RSpec.describe "An EventSource" do
  include EventSourcePage

  shared_examples "an EventSource of the standard" do
    serve EventSourcePage::APP, *EventSourcePage::OPTIONS, dir: Dir.tmpdir

    it "reconnects as a lone `retry:` says, and dispatches no event for a heartbeat between two events" do
      page = open_page
      expect_return_after_retry_alone
      expect_nothing_between_events
    ensure
      page&.stop
    end
  end

  context "of Chromium" do
    before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

    def open_page = Script.new("page.js", app.url)

    it_behaves_like "an EventSource of the standard"
  end

  context "of npm's eventsource" do
    before(:context) { skip Script.missing(:node) if Script.missing(:node) }

    def open_page = Script.new("event_source_page.js", app.url)

    it_behaves_like "an EventSource of the standard"
  end

  context "behind nginx", :full do
    before(:context) { skip "There is no nginx here" unless Nginx.version }

    after { @nginx&.stop }

    def open_page
      @nginx = Nginx.new(app)
      eventually("nginx to listen") { @nginx.listening? }
      Script.new("event_source_page.js", "http://127.0.0.1:#{@nginx.port}")
    end

    it_behaves_like "an EventSource of the standard"
  end

  context "of Firefox", :full do
    before(:context) { skip Firefox.missing if Firefox.missing }

    def open_page = Firefox.new(app.url)

    it_behaves_like "an EventSource of the standard"
  end
end
