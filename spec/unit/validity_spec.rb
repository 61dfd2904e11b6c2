# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/certificate_authority"
require "tmpdir"

RSpec.describe PushServer::Validity do
  day = 86_400
  from = Time.utc(2026, 1, 1)

  # What is said of a certificate that is valid for so many days, at a time in days after its beginning.
  def warnings(days, now, subject: "a.example")
    from = Time.utc(2026, 1, 1).to_i
    described_class.new([["cert.pem", subject, from, from + (days * 86_400)]]).warnings(from + (now * 86_400).to_i)
  end

  {
    [90, -1] => "the certificate in cert.pem for a.example is not valid before 2026-01-01 00:00:00 UTC: clients refuse it until then",
    [90, 0] => nil,
    [90, 80.9] => nil,
    [90, 81.1] => "the certificate in cert.pem for a.example expires on 2026-04-01 00:00:00 UTC",
    [90, 90] => "the certificate in cert.pem for a.example expires on 2026-04-01 00:00:00 UTC",
    [90, 90.1] => "the certificate in cert.pem for a.example has expired on 2026-04-01 00:00:00 UTC: clients refuse it",
    [365, 350.9] => nil,
    [365, 351.1] => "the certificate in cert.pem for a.example expires on 2027-01-01 00:00:00 UTC",
    [1, 0.8] => nil,
    [1, 0.95] => "the certificate in cert.pem for a.example expires on 2026-01-02 00:00:00 UTC"
  }.each do |(days, now), line|
    it "says #{line ? "that #{line[/is not|expires|has/]} …" : "nothing"} of a certificate for #{days} days on day #{now}" do
      expect(warnings(days, now)).to eq([*line])
    end
  end

  it "names the file of a certificate without a subject" do
    expect(warnings(90, 91, subject: "")).to match([/\Athe certificate in cert\.pem has expired/])
  end

  it "says each thing once" do
    validity = described_class.new([["a.pem", "a", from.to_i, from.to_i + (90 * day)], ["b.pem", "b", from.to_i, from.to_i + (900 * day)]])
    said = [1, 85, 86, 91, 92].map { |now| validity.warnings(from.to_i + (now * day)) }
    expect(said).to match([[], [/a\.pem.* expires/], [], [/a\.pem.* has expired/], []])
  end

  describe "of the files of a server" do
    let(:folder) { Dir.mktmpdir }

    after { FileUtils.rm_rf(folder) }

    # What is said now of a certificate and its issuers.
    def said(issued, *issuers, key: issued.key)
      chain = File.join(folder, "chain.pem")
      File.write(chain, [issued, *issuers].map { |one| one.certificate.to_pem }.join)
      PushServer::Certificates.new([[chain, key]]).load.warnings.map { |line| line.sub(folder, "") }
    end

    it "is what they say" do
      root = CertificateAuthority.default
      middle = CertificateAuthority.new("Middle CA", issuer: root, from: from - day, to: from)
      now = Time.now
      expect(said(root.issue("a.example"))).to eq([])
      expect(said(root.issue("a.example", to: from, from: from - day)))
        .to eq(["the certificate in /chain.pem for a.example has expired on 2026-01-01 00:00:00 UTC: clients refuse it"])
      expect(said(root.issue("a.example", from: now + day, to: now + (2 * day)))).to match([/a\.example is not valid before/])
      expect(said(middle.issue("a.example"), middle)).to match([/in \/chain\.pem for Middle CA has expired/])
      expect(said(root.issue("a.example", subject: [], to: from, from: from - day))).to match([/for a\.example has expired/])
    end
  end
end
