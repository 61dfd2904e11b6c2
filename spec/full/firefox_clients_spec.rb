# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The pages of docs/clients.md in Firefox", :full do
  include ClientPages

  before(:context) { skip Firefox.missing if Firefox.missing }

  ClientPages.serve(self, ClientPages::BEHAVIOUR.keys)

  attr_reader :tunnel

  before { @tunnel = Tunnel.new(app.port) }

  after do
    @firefox&.stop
    @tunnel.close
  end

  ClientPages::BEHAVIOUR.each do |heading, behaviour|
    next if behaviour[:lost] == :stays_away

    it "#{heading}: gets all messages in order, and #{behaviour[:lost]} when the connection was lost" do
      @page = Serving.next_name
      @firefox = Firefox.new("#{tunnel.url}/#{ClientPages.path_of(heading)}?#{@page}")
      expect(opened).to be_nil
      publish(heading, "1", "2 & <b>", "3")
      expect(heard(3, @page)).to eq(["1", "2 & <b>", "3"])
      away(:lost, heading, "4", "5")
      send(behaviour[:lost], heading)
    end
  end
end
