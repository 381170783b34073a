# The verdict of Perl's Crypt::JWT on each case; keys from the issuer's JWKS.

use strict;
use warnings;
use Crypt::JWT qw(decode_jwt);
use Digest::SHA qw(sha256);
use HTTP::Tiny;
use JSON::PP;
use MIME::Base64 qw(encode_base64url);

my $request  = decode_json(do { local $/; <STDIN> });
my $answer   = HTTP::Tiny->new(timeout => 10)->get($request->{jwks_uri});
die "jwks_uri answered $answer->{status}" unless $answer->{success};
my $key_set = decode_json($answer->{content});

# RFC 7638 section 3.2: the members that make the key, in lexicographic order, without white space.
my %members = (RSA => [qw(e kty n)], EC => [qw(crv kty x y)], OKP => [qw(crv kty x)]);
my $canonical = JSON::PP->new->canonical;
my %thumbprints = map {
    my $key = $_;
    my %made_of = map { $_ => $key->{$_} } @{ $members{ $key->{kty} } };
    ($key->{kid} => encode_base64url(sha256($canonical->encode(\%made_of))));
} @{ $key_set->{keys} };

my @verdicts;
for my $case (@{ $request->{cases} }) {
    my ($audience, $issuer) = @{$case}{qw(audience issuer)};
    my $claims = eval {
        decode_jwt(
            token        => $case->{token},
            kid_keys     => $key_set,
            accepted_alg => $case->{algorithm},
            verify_aud   => sub { defined $_[0] && !ref $_[0] && $_[0] eq $audience },
            verify_iss   => sub { defined $_[0] && $_[0] eq $issuer },
            verify_exp   => 1,
            verify_iat   => 1,
        );
    };
    push @verdicts,
        $claims
        ? { accepted => JSON::PP::true }
        : { accepted => JSON::PP::false, reason => $@ =~ s/ at \S+ line \d+\.\n//r };
}

print encode_json({ version => "$Crypt::JWT::VERSION", thumbprints => \%thumbprints, verdicts => \@verdicts });
